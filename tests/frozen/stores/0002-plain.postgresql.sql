--
-- PostgreSQL database dump
--


-- Dumped from database version 15.20 (Debian 15.20-0+deb12u1)
-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);


--
-- Name: api_tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.api_tokens (
    hash text NOT NULL COLLATE pg_catalog."C",
    prefix text NOT NULL COLLATE pg_catalog."C",
    tenant_hash text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    scopes text NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    last_used bigint,
    expires_at bigint,
    checksum bigint NOT NULL
);


--
-- Name: audit_chains; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_chains (
    tenant_hash text NOT NULL COLLATE pg_catalog."C",
    first bigint NOT NULL,
    last bigint NOT NULL,
    hash text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: audit_records; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_records (
    tenant_hash text NOT NULL COLLATE pg_catalog."C",
    sequence bigint NOT NULL,
    recorded_at bigint NOT NULL,
    actor text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    outcome text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    credential_type text NOT NULL COLLATE pg_catalog."C",
    token_id text NOT NULL COLLATE pg_catalog."C",
    key_id text NOT NULL COLLATE pg_catalog."C",
    detail text NOT NULL COLLATE pg_catalog."C",
    previous text NOT NULL COLLATE pg_catalog."C",
    hash text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: auth_codes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.auth_codes (
    hash text NOT NULL COLLATE pg_catalog."C",
    tenant_hash text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    payload bytea NOT NULL,
    expires_at bigint NOT NULL,
    checksum bigint NOT NULL
);


--
-- Name: counters; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.counters (
    tenant_hash text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    credential_type text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    fence bigint NOT NULL,
    claim_fence bigint,
    claim_owner text COLLATE pg_catalog."C",
    claim_deadline bigint,
    checksum bigint NOT NULL
);


--
-- Name: marks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.marks (
    name text NOT NULL COLLATE pg_catalog."C",
    value bytea NOT NULL
);


--
-- Name: migration_lock; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.migration_lock (
    id integer NOT NULL
);


--
-- Name: oauth_tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.oauth_tokens (
    tenant_hash text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    payload bytea NOT NULL,
    expires_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    version bigint NOT NULL,
    checksum bigint NOT NULL
);


--
-- Name: service_credentials; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.service_credentials (
    tenant_hash text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    credential_type text NOT NULL COLLATE pg_catalog."C",
    payload bytea NOT NULL,
    expires_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    version bigint NOT NULL,
    checksum bigint NOT NULL
);


--
-- Name: signals; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.signals (
    name text NOT NULL COLLATE pg_catalog."C",
    value bigint NOT NULL
);


--
-- Name: tenants; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tenants (
    tenant_hash text NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    checksum bigint NOT NULL
);


--
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.alembic_version VALUES ('0002');


--
-- Data for Name: api_tokens; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.api_tokens VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', '5d8c6f0c', 'cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'token 0 ü é', '[]', 1767323045678901, NULL, NULL, 1497285899);
INSERT INTO public.api_tokens VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', '7a16e564', 'c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'token 1 ü é', '["read"]', 1767323046678902, NULL, NULL, 2559522005);
INSERT INTO public.api_tokens VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'b68dc3fc', 'a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'token 2 ü é', '["read","write"]', 1767323047678903, NULL, NULL, 197863538);
INSERT INTO public.api_tokens VALUES ('aeb1c8321f40881dd1413d2358518a29db65b84e1c7900cbf4f8651dc7bbd353', 'ce3ee975', 'c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'expires', '[]', 1767323047678903, 1767323047678903, 2631323047678903, 1266025955);
INSERT INTO public.api_tokens VALUES ('d0249507cfc76c51ac945e02e4abbd0f656b6ada92d31e960bb4f445ead0824c', 'c525774d', 'cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'expires', '[]', 1767323046678902, 1767323046678902, 2631323046678902, 3946501958);
INSERT INTO public.api_tokens VALUES ('e41b5bbaa7ca7964fbe624db0fcd7914c6da820102f31de9998036a0322d35cb', 'aef09f02', 'a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'expires', '[]', 1767323048678904, 1767323048678904, 2631323048678904, 1280234575);


--
-- Data for Name: audit_chains; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: audit_records; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: auth_codes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.auth_codes VALUES ('7eb1b7951ff0070eab843f42c85931cf1b30b2ae8806825b9606e0af1206113b', 'cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'github', '\x014a5d76147b226e223a307d', 2631323046678902, 1602755502);
INSERT INTO public.auth_codes VALUES ('05c25d76703a85008403360ae1d3d9216215c03229aeac0f53cd3c235a639bb7', 'c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'github', '\x011aaedd8c7b226e223a317d', 2631323047678903, 1308633362);
INSERT INTO public.auth_codes VALUES ('770537d4d948e41fea97e949df6c27487acc596adb65f5d2d52d4d1a88938d2a', 'a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'github', '\x01cb4b70977b226e223a327d', 2631323048678904, 92365392);


--
-- Data for Name: counters; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.counters VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 2770440718);
INSERT INTO public.counters VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 2452946317);
INSERT INTO public.counters VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 851475167);
INSERT INTO public.counters VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 2739595970);
INSERT INTO public.counters VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 3583449372);
INSERT INTO public.counters VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 1472411802);
INSERT INTO public.counters VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 3675994916);
INSERT INTO public.counters VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 4179303127);
INSERT INTO public.counters VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 2096856886);
INSERT INTO public.counters VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 2630637344);
INSERT INTO public.counters VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 3218665244);
INSERT INTO public.counters VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 1749386616);
INSERT INTO public.counters VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 3102297802);
INSERT INTO public.counters VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 882464449);
INSERT INTO public.counters VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 2131893237);
INSERT INTO public.counters VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 3276445858);
INSERT INTO public.counters VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 4101387129);
INSERT INTO public.counters VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 935545594);


--
-- Data for Name: marks; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.marks VALUES ('encryption', '\x706c61696e');


--
-- Data for Name: migration_lock; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.migration_lock VALUES (1);


--
-- Data for Name: oauth_tokens; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.oauth_tokens VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'github', '\x019217d3aa7b226163636573735f746f6b656e223a226163636573732030222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323046678902, 1767323046678902, 1767323046678902, 2, 1019314187);
INSERT INTO public.oauth_tokens VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'github', '\x010a11c3687b226163636573735f746f6b656e223a226163636573732031222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323047678903, 1767323047678903, 1767323047678903, 2, 1780537104);
INSERT INTO public.oauth_tokens VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'github', '\x017321204b7b226163636573735f746f6b656e223a226163636573732032222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323048678904, 1767323048678904, 1767323048678904, 2, 3996299717);


--
-- Data for Name: service_credentials; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.service_credentials VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'Mail ü', 'api_key', '\x013e49c8d27b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'Mail ü', 'bearer', '\x018bcc13937b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'Mail ü', 'basic_auth', '\x01ba11159a7b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 'Mail ü', 'custom', '\x01e1fc32467b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'Mail ü', 'api_key', '\x014efd1c047b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'Mail ü', 'bearer', '\x013d1837347b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'Mail ü', 'basic_auth', '\x016ac51e997b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 'Mail ü', 'custom', '\x01572816e17b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'Mail ü', 'api_key', '\x01cfbe52ef7b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'Mail ü', 'bearer', '\x01795c97067b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'Mail ü', 'basic_auth', '\x01dfc50c797b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 'Mail ü', 'custom', '\x01136cb6d37b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);


--
-- Data for Name: signals; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.signals VALUES ('changes', 0);


--
-- Data for Name: tenants; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tenants VALUES ('0000000000000000000000000000000000000000000000000000000000000000', 0, 2998326164);
INSERT INTO public.tenants VALUES ('cc006d3c89c9c4719dc421a58e7f3a5af443778233b0b7b5d1b7fb334ec1261b', 1767323045678901, 3345560896);
INSERT INTO public.tenants VALUES ('c192e4abd549ee1bfb7d97acd279953a7e70b43fd5584bc235e3a074a7c31082', 1767323046678902, 3597627206);
INSERT INTO public.tenants VALUES ('a27e3596e89e4b8f1acdbd7478f13aabc63665f6ce3fae99eaf922e62537b1c2', 1767323047678903, 3239310573);


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


--
-- Name: api_tokens api_tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (hash);


--
-- Name: audit_chains audit_chains_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_chains
    ADD CONSTRAINT audit_chains_pkey PRIMARY KEY (tenant_hash);


--
-- Name: audit_records audit_records_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_records
    ADD CONSTRAINT audit_records_pkey PRIMARY KEY (tenant_hash, sequence);


--
-- Name: auth_codes auth_codes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.auth_codes
    ADD CONSTRAINT auth_codes_pkey PRIMARY KEY (hash);


--
-- Name: counters counters_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (tenant_hash, kind, service, credential_type);


--
-- Name: marks marks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.marks
    ADD CONSTRAINT marks_pkey PRIMARY KEY (name);


--
-- Name: migration_lock migration_lock_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.migration_lock
    ADD CONSTRAINT migration_lock_pkey PRIMARY KEY (id);


--
-- Name: oauth_tokens oauth_tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.oauth_tokens
    ADD CONSTRAINT oauth_tokens_pkey PRIMARY KEY (tenant_hash, service);


--
-- Name: service_credentials service_credentials_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.service_credentials
    ADD CONSTRAINT service_credentials_pkey PRIMARY KEY (tenant_hash, service, credential_type);


--
-- Name: signals signals_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.signals
    ADD CONSTRAINT signals_pkey PRIMARY KEY (name);


--
-- Name: tenants tenants_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (tenant_hash);


--
-- Name: ix_api_tokens_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_api_tokens_created_at ON public.api_tokens USING btree (created_at, hash);


--
-- Name: ix_api_tokens_expires_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_api_tokens_expires_at ON public.api_tokens USING btree (expires_at);


--
-- Name: ix_api_tokens_prefix; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_api_tokens_prefix ON public.api_tokens USING btree (prefix);


--
-- Name: ix_api_tokens_tenant_hash; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_api_tokens_tenant_hash ON public.api_tokens USING btree (tenant_hash, created_at, hash);


--
-- Name: ix_audit_records_recorded_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_audit_records_recorded_at ON public.audit_records USING btree (recorded_at, tenant_hash, sequence);


--
-- Name: ix_auth_codes_expires_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_auth_codes_expires_at ON public.auth_codes USING btree (expires_at);


--
-- Name: ix_auth_codes_tenant_hash; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_auth_codes_tenant_hash ON public.auth_codes USING btree (tenant_hash);


--
-- Name: ix_counters_claim_deadline; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_counters_claim_deadline ON public.counters USING btree (claim_deadline);


--
-- Name: ix_service_credentials_expires_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_service_credentials_expires_at ON public.service_credentials USING btree (expires_at);


--
-- Name: api_tokens api_tokens_tenant_hash_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_tenant_hash_fkey FOREIGN KEY (tenant_hash) REFERENCES public.tenants(tenant_hash) ON DELETE CASCADE;


--
-- Name: auth_codes auth_codes_tenant_hash_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.auth_codes
    ADD CONSTRAINT auth_codes_tenant_hash_fkey FOREIGN KEY (tenant_hash) REFERENCES public.tenants(tenant_hash) ON DELETE CASCADE;


--
-- Name: counters counters_tenant_hash_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.counters
    ADD CONSTRAINT counters_tenant_hash_fkey FOREIGN KEY (tenant_hash) REFERENCES public.tenants(tenant_hash) ON DELETE CASCADE;


--
-- Name: oauth_tokens oauth_tokens_tenant_hash_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.oauth_tokens
    ADD CONSTRAINT oauth_tokens_tenant_hash_fkey FOREIGN KEY (tenant_hash) REFERENCES public.tenants(tenant_hash) ON DELETE CASCADE;


--
-- Name: service_credentials service_credentials_tenant_hash_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.service_credentials
    ADD CONSTRAINT service_credentials_tenant_hash_fkey FOREIGN KEY (tenant_hash) REFERENCES public.tenants(tenant_hash) ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--


