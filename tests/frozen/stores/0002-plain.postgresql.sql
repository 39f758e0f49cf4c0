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
    hash text NOT NULL COLLATE pg_catalog."C",
    recorded_at bigint NOT NULL
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

INSERT INTO public.api_tokens VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'a949f0d1', '1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'token 0 ü é', '[]', 1767323045678901, NULL, NULL, 1668981807);
INSERT INTO public.api_tokens VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', '9b750751', '19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'token 1 ü é', '["read"]', 1767323046678902, NULL, NULL, 3920456364);
INSERT INTO public.api_tokens VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', '063033e3', '2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'token 2 ü é', '["read","write"]', 1767323047678903, NULL, NULL, 3778881144);
INSERT INTO public.api_tokens VALUES ('346f42cc3e0deebb201246dc02464c2713fce554e634a9727df27def08b0784f', '2b28386b', '2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'expires', '[]', 1767323048678904, 1767323048678904, 2631323048678904, 1576801833);
INSERT INTO public.api_tokens VALUES ('9b31351f03f464a7d687c7a726bc7cc060cd7cc856fc4200b7bbca2bddef0e2d', '760356b5', '19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'expires', '[]', 1767323047678903, 1767323047678903, 2631323047678903, 3562718573);
INSERT INTO public.api_tokens VALUES ('eead897b5da64dbb1750f96e1ab9550ca75b9db75243c3c1fa8f1f3efaa35188', '5e96ca57', '1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'expires', '[]', 1767323046678902, 1767323046678902, 2631323046678902, 2173200177);


--
-- Data for Name: audit_chains; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_chains VALUES ('', 1, 1, '6a3362ec3a135144301222c1ac13e8799aa3b8299fbd19f7831654c6db80d3b5', 1767323045678901);
INSERT INTO public.audit_chains VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 1, 12, '84d379780c698eb4e70662bf2c6014932da38abc7611fdb92009e78fcf67f193', 1767323046678902);
INSERT INTO public.audit_chains VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 1, 12, 'c488459b05ee99ff870ee07ea6ded47c524fb939813a28bfb41133bb8750c7e5', 1767323047678903);
INSERT INTO public.audit_chains VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 1, 12, '5737640f96fce4ffc0c3df9b75f1cd65fe58391f4847a2e4ffb45e2f23d4fec6', 1767323048678904);


--
-- Data for Name: audit_records; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_records VALUES ('', 1, 1767323045678901, '', 'audit.enable', 'ok', '', '', '', '', '{}', '', '6a3362ec3a135144301222c1ac13e8799aa3b8299fbd19f7831654c6db80d3b5');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 1, 1767323045678901, '', 'tenant.create', 'ok', '', '', '', '', '{}', '', '4bde40fbffac6ba50f012a0cbda35368b29989f46d478036cb30f99a47c5841d');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 2, 1767323045678901, '', 'api_token.add', 'ok', '', '', '1cc256e62b35f950', '', '{}', '4bde40fbffac6ba50f012a0cbda35368b29989f46d478036cb30f99a47c5841d', '6737576baa9d17c454b775cb80cf3c779d6478a7842a04b26e67e29350c46607');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 3, 1767323046678902, '', 'api_token.add', 'ok', '', '', 'eead897b5da64dbb', '', '{}', '6737576baa9d17c454b775cb80cf3c779d6478a7842a04b26e67e29350c46607', '80653a6fccbc097e052194bd66baefa1d531d1814245445dc6eea83fe8113116');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 4, 1767323046678902, '', 'oauth.store', 'ok', 'github', '', '', '', '{"version":1}', '80653a6fccbc097e052194bd66baefa1d531d1814245445dc6eea83fe8113116', '09fa489475b704848ee7aab7100771724fbfcc8dd83e622af05db9438443490d');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 5, 1767323046678902, '', 'oauth.store', 'ok', 'github', '', '', '', '{"version":2}', '09fa489475b704848ee7aab7100771724fbfcc8dd83e622af05db9438443490d', '203f784f6fc31c36ad28a2a645ef8a69ac28d2d98abbce3c289a3da7659c57a2');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 6, 1767323046678902, '', 'oauth.store', 'ok', 'gone', '', '', '', '{"version":1}', '203f784f6fc31c36ad28a2a645ef8a69ac28d2d98abbce3c289a3da7659c57a2', '9f3092052959170ec64f42b06744b1f5b734f6dc1361e98cc99eb1f333d07478');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 7, 1767323046678902, '', 'oauth.delete', 'ok', 'gone', '', '', '', '{}', '9f3092052959170ec64f42b06744b1f5b734f6dc1361e98cc99eb1f333d07478', 'b1a572399edbf469c3f2de23041fd14958991ca2828d08ea327b3366767a8ea1');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 8, 1767323046678902, '', 'credentials.store', 'ok', 'Mail ü', 'api_key', '', '', '{"version":1}', 'b1a572399edbf469c3f2de23041fd14958991ca2828d08ea327b3366767a8ea1', 'a5449c637d279f2ddd75ae4bcfa2b4ed6495a81dfc6a3df5ab4275080c192d82');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 9, 1767323046678902, '', 'credentials.store', 'ok', 'Mail ü', 'bearer', '', '', '{"version":1}', 'a5449c637d279f2ddd75ae4bcfa2b4ed6495a81dfc6a3df5ab4275080c192d82', '170f371800cc40c2b2660d1a788757259a967aada54b44e253fb1c375d90f558');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 10, 1767323046678902, '', 'credentials.store', 'ok', 'Mail ü', 'basic_auth', '', '', '{"version":1}', '170f371800cc40c2b2660d1a788757259a967aada54b44e253fb1c375d90f558', 'b6f541d5997b75f3e416c51c3393dff482415ea9ab1471eafafe2f83ce06c429');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 11, 1767323046678902, '', 'credentials.store', 'ok', 'Mail ü', 'custom', '', '', '{"version":1}', 'b6f541d5997b75f3e416c51c3393dff482415ea9ab1471eafafe2f83ce06c429', 'c7495e3699c119818ed9c7f907c011db81b202585badff96405121a3cb6850de');
INSERT INTO public.audit_records VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 12, 1767323046678902, '', 'auth_code.create', 'ok', 'github', '', '', '', '{}', 'c7495e3699c119818ed9c7f907c011db81b202585badff96405121a3cb6850de', '84d379780c698eb4e70662bf2c6014932da38abc7611fdb92009e78fcf67f193');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 1, 1767323046678902, '', 'tenant.create', 'ok', '', '', '', '', '{}', '', 'ff7649148d8dba680542678e96b97a9f997019c6bcfd209ad2bc83b59e89acfb');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 2, 1767323046678902, '', 'api_token.add', 'ok', '', '', '19d4898a00868a6e', '', '{}', 'ff7649148d8dba680542678e96b97a9f997019c6bcfd209ad2bc83b59e89acfb', 'f288815d91a27b68cddedcd74c39d9e51a6dd724b502760f8d70b0940c3b90e9');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 3, 1767323047678903, '', 'api_token.add', 'ok', '', '', '9b31351f03f464a7', '', '{}', 'f288815d91a27b68cddedcd74c39d9e51a6dd724b502760f8d70b0940c3b90e9', '5e5aad9e1f91fe9a347401320f64f007ee80d1e16fbec1832251f83c2876a20a');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 4, 1767323047678903, '', 'oauth.store', 'ok', 'github', '', '', '', '{"version":1}', '5e5aad9e1f91fe9a347401320f64f007ee80d1e16fbec1832251f83c2876a20a', '7b64c4bedf715fe4e81190c939399bad5f4007c09342ee5f335853b211168cb4');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 5, 1767323047678903, '', 'oauth.store', 'ok', 'github', '', '', '', '{"version":2}', '7b64c4bedf715fe4e81190c939399bad5f4007c09342ee5f335853b211168cb4', '77df8947ae88dd1c1c38331a1cc3e09f531f1769121d0f89865e7bf6b7eb42dc');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 6, 1767323047678903, '', 'oauth.store', 'ok', 'gone', '', '', '', '{"version":1}', '77df8947ae88dd1c1c38331a1cc3e09f531f1769121d0f89865e7bf6b7eb42dc', 'b642e4fc8abf30de4f27bfaf0db9fe2aa530c31bc864fa95a80de7f1a4a8c29d');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 7, 1767323047678903, '', 'oauth.delete', 'ok', 'gone', '', '', '', '{}', 'b642e4fc8abf30de4f27bfaf0db9fe2aa530c31bc864fa95a80de7f1a4a8c29d', '74c417b596b45ce8cf4f09548a0a540ff1ed0871f0fdeef8f3db2a312b00991b');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 8, 1767323047678903, '', 'credentials.store', 'ok', 'Mail ü', 'api_key', '', '', '{"version":1}', '74c417b596b45ce8cf4f09548a0a540ff1ed0871f0fdeef8f3db2a312b00991b', 'f4a35da2c21a95d1f51ab992e80fa23f0934e05d83ac7d777659564ef8172430');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 9, 1767323047678903, '', 'credentials.store', 'ok', 'Mail ü', 'bearer', '', '', '{"version":1}', 'f4a35da2c21a95d1f51ab992e80fa23f0934e05d83ac7d777659564ef8172430', '6f6218b6f04c2b7cba336ca5439e4f1e60f354e4fb50525c4822067287f2dc41');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 10, 1767323047678903, '', 'credentials.store', 'ok', 'Mail ü', 'basic_auth', '', '', '{"version":1}', '6f6218b6f04c2b7cba336ca5439e4f1e60f354e4fb50525c4822067287f2dc41', '1007fa78062aa9100ba421c63e5e59ea3f4a8cfcc9d7e93ec176b373c51f6c81');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 11, 1767323047678903, '', 'credentials.store', 'ok', 'Mail ü', 'custom', '', '', '{"version":1}', '1007fa78062aa9100ba421c63e5e59ea3f4a8cfcc9d7e93ec176b373c51f6c81', '1d778974850dca7e0e929a94d6b96b8dbc3ddd21f74878c23fce0561d441675f');
INSERT INTO public.audit_records VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 12, 1767323047678903, '', 'auth_code.create', 'ok', 'github', '', '', '', '{}', '1d778974850dca7e0e929a94d6b96b8dbc3ddd21f74878c23fce0561d441675f', 'c488459b05ee99ff870ee07ea6ded47c524fb939813a28bfb41133bb8750c7e5');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 1, 1767323047678903, '', 'tenant.create', 'ok', '', '', '', '', '{}', '', 'efee9c64f0616c34ac5712a2098fbc8977f80e78abe44f8883b7050fa01ea9d6');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 2, 1767323047678903, '', 'api_token.add', 'ok', '', '', '2e80c899f78bc832', '', '{}', 'efee9c64f0616c34ac5712a2098fbc8977f80e78abe44f8883b7050fa01ea9d6', '02da90da2ef504e6d18ef763df55222a8295fdec297dccf8ce44ba73806d2b47');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 3, 1767323048678904, '', 'api_token.add', 'ok', '', '', '346f42cc3e0deebb', '', '{}', '02da90da2ef504e6d18ef763df55222a8295fdec297dccf8ce44ba73806d2b47', '9e11b4f46b193557fb44a860e39f10291beda2625ffb6fd604818818adc848b8');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 4, 1767323048678904, '', 'oauth.store', 'ok', 'github', '', '', '', '{"version":1}', '9e11b4f46b193557fb44a860e39f10291beda2625ffb6fd604818818adc848b8', '6d824c012f13efabed194f393fd2b4f9c1ed0c2c4b0ee482c8df389ecc2190f4');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 5, 1767323048678904, '', 'oauth.store', 'ok', 'github', '', '', '', '{"version":2}', '6d824c012f13efabed194f393fd2b4f9c1ed0c2c4b0ee482c8df389ecc2190f4', '48f0f0773b1da8f591f34aea539d63c0ac0ffca05dbf0668701e9f4aa1b5c50e');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 6, 1767323048678904, '', 'oauth.store', 'ok', 'gone', '', '', '', '{"version":1}', '48f0f0773b1da8f591f34aea539d63c0ac0ffca05dbf0668701e9f4aa1b5c50e', 'cd5b6080f7eaed30d62e3382177c28757bc4e3de8eb689f5888d8b6e1bbaf621');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 7, 1767323048678904, '', 'oauth.delete', 'ok', 'gone', '', '', '', '{}', 'cd5b6080f7eaed30d62e3382177c28757bc4e3de8eb689f5888d8b6e1bbaf621', '333b351e25343edb01341f852e90ffe41ea4bad5b7c43c0771ddf777e9aeed29');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 8, 1767323048678904, '', 'credentials.store', 'ok', 'Mail ü', 'api_key', '', '', '{"version":1}', '333b351e25343edb01341f852e90ffe41ea4bad5b7c43c0771ddf777e9aeed29', '2dba4a63eb465ebaf4586a1e7f59011fb60f16637dec92126f755cad8184ef8c');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 9, 1767323048678904, '', 'credentials.store', 'ok', 'Mail ü', 'bearer', '', '', '{"version":1}', '2dba4a63eb465ebaf4586a1e7f59011fb60f16637dec92126f755cad8184ef8c', '3dc92fd29f75b044d78b702f304afd85fb9ebb8f135b3652539e9509138d6241');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 10, 1767323048678904, '', 'credentials.store', 'ok', 'Mail ü', 'basic_auth', '', '', '{"version":1}', '3dc92fd29f75b044d78b702f304afd85fb9ebb8f135b3652539e9509138d6241', 'd8b58a20a70fc36884e4fc0a1d905c96390718ecf363b472073e06aab4c48335');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 11, 1767323048678904, '', 'credentials.store', 'ok', 'Mail ü', 'custom', '', '', '{"version":1}', 'd8b58a20a70fc36884e4fc0a1d905c96390718ecf363b472073e06aab4c48335', '8b8fb92beb5cbea6dd758cc675d2fedbe42d9d2b75e8c9e2e78a18aa0ae7b61d');
INSERT INTO public.audit_records VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 12, 1767323048678904, '', 'auth_code.create', 'ok', 'github', '', '', '', '{}', '8b8fb92beb5cbea6dd758cc675d2fedbe42d9d2b75e8c9e2e78a18aa0ae7b61d', '5737640f96fce4ffc0c3df9b75f1cd65fe58391f4847a2e4ffb45e2f23d4fec6');


--
-- Data for Name: auth_codes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.auth_codes VALUES ('ba5ddcac1521ae09a2bd77fafb829310987f2f3c294368a13b07e568f2147bea', '1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'github', '\x01942a11177b226e223a307d', 2631323046678902, 1487690844);
INSERT INTO public.auth_codes VALUES ('4d40117c0f400fa8cb57f52dbc2779ec07854437f6683824f282f28eca478c8c', '19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'github', '\x01dbeae7b57b226e223a317d', 2631323047678903, 3251195796);
INSERT INTO public.auth_codes VALUES ('301b2f65813eef8ae558f37f053a873dad65d5635819dfbd492b78ac3fcdab7c', '2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'github', '\x0189bec6887b226e223a327d', 2631323048678904, 630810605);


--
-- Data for Name: counters; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.counters VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 3379772654);
INSERT INTO public.counters VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 2003730555);
INSERT INTO public.counters VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 3868680843);
INSERT INTO public.counters VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 1331846305);
INSERT INTO public.counters VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 3375809450);
INSERT INTO public.counters VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 3152776953);
INSERT INTO public.counters VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 3915669365);
INSERT INTO public.counters VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 2525976371);
INSERT INTO public.counters VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 2188325509);
INSERT INTO public.counters VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 3701117624);
INSERT INTO public.counters VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 3396716990);
INSERT INTO public.counters VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 672350432);
INSERT INTO public.counters VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'oauth', 'github', '', 2, 0, NULL, NULL, NULL, 815187910);
INSERT INTO public.counters VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'oauth', 'gone', '', 1, 0, NULL, NULL, NULL, 3762493632);
INSERT INTO public.counters VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'credential', 'Mail ü', 'api_key', 1, 0, NULL, NULL, NULL, 2160990399);
INSERT INTO public.counters VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'credential', 'Mail ü', 'bearer', 1, 0, NULL, NULL, NULL, 270770811);
INSERT INTO public.counters VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'credential', 'Mail ü', 'basic_auth', 1, 0, NULL, NULL, NULL, 758380204);
INSERT INTO public.counters VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'credential', 'Mail ü', 'custom', 1, 0, NULL, NULL, NULL, 3836375075);


--
-- Data for Name: marks; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.marks VALUES ('audit', '\x7b226b6565705f6d6963726f73223a6e756c6c7d');
INSERT INTO public.marks VALUES ('encryption', '\x706c61696e');


--
-- Data for Name: migration_lock; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.migration_lock VALUES (1);


--
-- Data for Name: oauth_tokens; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.oauth_tokens VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'github', '\x01b504d8827b226163636573735f746f6b656e223a226163636573732030222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323046678902, 1767323046678902, 1767323046678902, 2, 1019314187);
INSERT INTO public.oauth_tokens VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'github', '\x01384c94ea7b226163636573735f746f6b656e223a226163636573732031222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323047678903, 1767323047678903, 1767323047678903, 2, 1780537104);
INSERT INTO public.oauth_tokens VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'github', '\x012b48dd1c7b226163636573735f746f6b656e223a226163636573732032222c22726566726573685f746f6b656e223a2272656672657368222c22746f6b656e5f74797065223a22426561726572222c2273636f7065223a5b2261222c2262225d2c226d65746164617461223a7b226b223a2276227d7d', 2631323048678904, 1767323048678904, 1767323048678904, 2, 3996299717);


--
-- Data for Name: service_credentials; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.service_credentials VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'Mail ü', 'api_key', '\x0170c48b387b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'Mail ü', 'bearer', '\x01020cad717b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'Mail ü', 'basic_auth', '\x015639a3f97b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 'Mail ü', 'custom', '\x01683c8ca47b2276616c7565223a5b302c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323046678902, 1767323046678902, 1, 2781401521);
INSERT INTO public.service_credentials VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'Mail ü', 'api_key', '\x012ce7e1147b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'Mail ü', 'bearer', '\x01faf8f8687b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'Mail ü', 'basic_auth', '\x012a93db017b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 'Mail ü', 'custom', '\x0190c8d9bd7b2276616c7565223a5b312c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323047678903, 1767323047678903, 1, 4079584938);
INSERT INTO public.service_credentials VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'Mail ü', 'api_key', '\x018d3d097d7b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'Mail ü', 'bearer', '\x01489f692f7b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'Mail ü', 'basic_auth', '\x010cac36a07b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);
INSERT INTO public.service_credentials VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 'Mail ü', 'custom', '\x0122af48fa7b2276616c7565223a5b322c6e756c6c2c7b2278223a2279227d5d7d', NULL, 1767323048678904, 1767323048678904, 1, 2000412799);


--
-- Data for Name: signals; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.signals VALUES ('changes', 0);


--
-- Data for Name: tenants; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tenants VALUES ('0000000000000000000000000000000000000000000000000000000000000000', 0, 2998326164);
INSERT INTO public.tenants VALUES ('1cc256e62b35f950f0b5e405749b30f65aa50b8f8fd542d5e383a6ca88ab43e1', 1767323045678901, 3312671646);
INSERT INTO public.tenants VALUES ('19d4898a00868a6ed298821909fa0bc514335c8561a0a55f9ba6811819b921d2', 1767323046678902, 2790737616);
INSERT INTO public.tenants VALUES ('2e80c899f78bc832106d20bfe3c8fa8e24559f6ecbc1a209970827d255cd7a51', 1767323047678903, 1032660905);


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


