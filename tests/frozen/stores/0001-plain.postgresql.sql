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

INSERT INTO public.alembic_version VALUES ('0001');


--
-- Data for Name: api_tokens; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.api_tokens VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', '38ddc7a5', '3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'token 0 ü é', '[]', 1767323045678901, NULL, NULL, 1391206159);
INSERT INTO public.api_tokens VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', '24920415', '776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'token 1 ü é', '["read"]', 1767323046678902, NULL, NULL, 518132517);
INSERT INTO public.api_tokens VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', '8458b622', '40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'token 2 ü é', '["read","write"]', 1767323047678903, NULL, NULL, 43080077);
INSERT INTO public.api_tokens VALUES ('416d69de706d45150a40bdb4c78e697a860c1c5f6a58bafa3a68c5204dc899a9', 'd879219a', '3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'expires', '[]', 1767323046678902, 1767323046678902, 2631323046678902, 2414605149);
INSERT INTO public.api_tokens VALUES ('41bad4337fe6c2a2ae966801abf67d776276d52a7b500e7c8e635e6c86f4fd3e', 'c0ae4953', '40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'expires', '[]', 1767323048678904, 1767323048678904, 2631323048678904, 2605523372);
INSERT INTO public.api_tokens VALUES ('f0133fce19fed12d1fae697a507c035b5b2ef0d6a4ea8abf1b39072a8f2d8433', 'ee9b0ff3', '776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'expires', '[]', 1767323047678903, 1767323047678903, 2631323047678903, 2628269039);


--
-- Data for Name: auth_codes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.auth_codes VALUES ('d5a1e875b3b2cb6f4391f9c42b6b47a02185e984bde47da5cf80b1ecd6fadc55', '3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'github', '\x015f6dcff47b226e223a307d', 2631323046678902, 1093669888);
INSERT INTO public.auth_codes VALUES ('b7a56ceb222b94f4cdaafbc235fb907e6d0875b4aaab1485c3fd615f7ac77a13', '776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'github', '\x01476bc5157b226e223a317d', 2631323047678903, 105176041);
INSERT INTO public.auth_codes VALUES ('612873ad92620297b60a5ac3cfa9374f976c800013755d0d4ac023f02dea5ac9', '40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'github', '\x010200df717b226e223a327d', 2631323048678904, 1318272751);


--
-- Data for Name: counters; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.counters VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 3295257326);
INSERT INTO public.counters VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 2220924026);
INSERT INTO public.counters VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 3671991414);
INSERT INTO public.counters VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 96497797);
INSERT INTO public.counters VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 3708367522);
INSERT INTO public.counters VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 4048134877);
INSERT INTO public.counters VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 232715620);
INSERT INTO public.counters VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 4163628239);
INSERT INTO public.counters VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 4195523247);
INSERT INTO public.counters VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 2801474288);
INSERT INTO public.counters VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 3083153808);
INSERT INTO public.counters VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 1383254184);
INSERT INTO public.counters VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 1763386685);
INSERT INTO public.counters VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 1373159207);
INSERT INTO public.counters VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 541308642);
INSERT INTO public.counters VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 2540668827);
INSERT INTO public.counters VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 3940164885);
INSERT INTO public.counters VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 1676039619);


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

INSERT INTO public.oauth_tokens VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'github', '\x018ac04cb67b226163636573735f746f6b656e223a226163636573732030222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323046678902, 1767323046678902, 1767323046678902, 2, 1019314187);
INSERT INTO public.oauth_tokens VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'github', '\x010f6eabe37b226163636573735f746f6b656e223a226163636573732031222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323047678903, 1767323047678903, 1767323047678903, 2, 1780537104);
INSERT INTO public.oauth_tokens VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'github', '\x01b0f4bac47b226163636573735f746f6b656e223a226163636573732032222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323048678904, 1767323048678904, 1767323048678904, 2, 3996299717);


--
-- Data for Name: service_credentials; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.service_credentials VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'Mail ü', 'api_key', '\x0135fefda57b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'Mail ü', 'bearer', '\x01e726455c7b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'Mail ü', 'basic_auth', '\x011c9b8fdd7b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 'Mail ü', 'custom', '\x018d1664897b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'Mail ü', 'api_key', '\x01a50105187b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'Mail ü', 'bearer', '\x01cf3714f17b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'Mail ü', 'basic_auth', '\x0150f253497b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 'Mail ü', 'custom', '\x01a50735247b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'Mail ü', 'api_key', '\x019a2ba42b7b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'Mail ü', 'bearer', '\x01e98c7cb17b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'Mail ü', 'basic_auth', '\x018be013407b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 'Mail ü', 'custom', '\x0183bc5d647b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);


--
-- Data for Name: signals; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.signals VALUES ('changes', 0);


--
-- Data for Name: tenants; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tenants VALUES ('0000000000000000000000000000000000000000000000000000000000000000', 0, 2998326164);
INSERT INTO public.tenants VALUES ('3ec7a81d606feb79651373c175e26226012753d961aa06014f74e1423ede227b', 1767323045678901, 3579730483);
INSERT INTO public.tenants VALUES ('776a62834ae256b15811a5e7f5a4ef76142e0b178c1f387fcc4fdb88169382bc', 1767323046678902, 2448242986);
INSERT INTO public.tenants VALUES ('40205cbc13b1fd3db70d740e6d49f6f9f13a3a75f5e61acb8c8390a70c858556', 1767323047678903, 3536005961);


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


