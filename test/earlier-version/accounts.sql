CREATE TABLE schema_migrations (
        version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL
      ) STRICT;
INSERT INTO schema_migrations (version, name, applied_at) VALUES (1, 'accounts, sessions, leases', 1795678629212);
INSERT INTO schema_migrations (version, name, applied_at) VALUES (2, 'bearers, the refresh journal, spending', 1795678629212);
INSERT INTO schema_migrations (version, name, applied_at) VALUES (3, 'accounts counted by provider and standing', 1795678629212);
INSERT INTO schema_migrations (version, name, applied_at) VALUES (4, 'the team an account bills', 1795678629212);
INSERT INTO schema_migrations (version, name, applied_at) VALUES (5, 'what turns cost in US cents', 1795678629212);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('login:login_844c8d8f-242c-489e-9cad-2c2b06eb0233', '{"id":"login_844c8d8f-242c-489e-9cad-2c2b06eb0233","provider":"warp","actor":"local","status":"pending","userCode":"ZTXC-QKDN","verificationUri":"http://127.0.0.1:38109/device","verificationUriComplete":"http://127.0.0.1:38109/device?user_code=ZTXC-QKDN","expiresAt":1795679240706,"intervalMs":5000,"nextPollAt":1795678645706,"failures":0,"deviceCode":"v1.iOv_ZqOC7sBD14fG_ns86Kh_WZ-C-v8Ogg5D-pKu3DelBVcK1rFv0qTRur6qeiN37VRQkAHR3XOuL_lzAWfW","grant":null,"account":{"email":null,"label":null,"capacity":16,"models":null,"free":false,"lend":"any","tier":0,"teamUid":null,"standby":false},"replaces":null,"accountId":null,"error":null,"finishedAt":null}');
INSERT INTO meta (name, value) VALUES ('vault_key_id', 'ed08401c4f5b6478');
INSERT INTO meta (name, value) VALUES ('write-probe', '1795678634845');
CREATE TABLE accounts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  provider TEXT NOT NULL,
  email TEXT,
  label TEXT,
  capacity INTEGER NOT NULL CHECK (capacity >= 1),
  models TEXT,
  free INTEGER NOT NULL CHECK (free IN (0, 1)),
  lend TEXT NOT NULL CHECK (lend IN ('any', 'gateway')),
  tier INTEGER NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('standby', 'active', 'cooldown', 'exhausted', 'reauth_required', 'disabled')),
  state_until INTEGER,
  state_reason TEXT,
  state_evidence TEXT,
  half_open INTEGER NOT NULL DEFAULT 0 CHECK (half_open IN (0, 1)),
  quota_spent INTEGER NOT NULL DEFAULT 0 CHECK (quota_spent IN (0, 1)),
  streaks TEXT NOT NULL,
  probe TEXT NOT NULL CHECK (probe IN ('unproved', 'proved')),
  source TEXT NOT NULL,
  credential_kind TEXT NOT NULL CHECK (credential_kind IN ('api_key', 'refresh_token')),
  credential TEXT NOT NULL,
  credential_fingerprint TEXT NOT NULL,
  credential_hint TEXT NOT NULL,
  token_version INTEGER NOT NULL DEFAULT 1,
  last_refresh_time INTEGER,
  quota TEXT,
  next_check_at INTEGER,
  checks INTEGER NOT NULL DEFAULT 0,
  fence_counter INTEGER NOT NULL DEFAULT 0,
  use_count INTEGER NOT NULL DEFAULT 0,
  last_used INTEGER NOT NULL DEFAULT 0,
  turns INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  credits REAL NOT NULL DEFAULT 0,
  holders INTEGER NOT NULL DEFAULT 0 CHECK (holders >= 0),
  exclusive_held INTEGER NOT NULL DEFAULT 0 CHECK (exclusive_held IN (0, 1)),
  shared_slots INTEGER NOT NULL DEFAULT 0 CHECK (shared_slots >= 0),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  is_available INTEGER GENERATED ALWAYS AS (
    state = 'active' AND exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0)
  ) VIRTUAL, bearer TEXT, bearer_expires_at INTEGER, next_refresh_at INTEGER, refresh_failure TEXT, source_handle TEXT, state_since INTEGER NOT NULL DEFAULT 0, quota_remaining REAL, kind INTEGER GENERATED ALWAYS AS (
  (CASE state WHEN 'standby' THEN 0 WHEN 'active' THEN 1 WHEN 'cooldown' THEN 2 WHEN 'exhausted' THEN 3 WHEN 'reauth_required' THEN 4 WHEN 'disabled' THEN 5 END) + 8 * (state = 'cooldown' AND state_reason IS 'rate_limited') + 16 * (lend = 'gateway') + 32 * (free = 1) + 64 * (holders > 0) + 128 * (half_open = 1) + 256 * (exclusive_held = 1) + 512 * (shared_slots >= capacity) + 1024 * (models IS NOT NULL)
) VIRTUAL, team_uid TEXT, cost_cents REAL NOT NULL DEFAULT 0,
  UNIQUE (provider, credential_fingerprint),
  CHECK (exclusive_held = 0 OR (holders = 1 AND shared_slots = 0))
) STRICT;
INSERT INTO accounts (seq, id, provider, email, label, capacity, models, free, lend, tier, state, state_until, state_reason, state_evidence, half_open, quota_spent, streaks, probe, source, credential_kind, credential, credential_fingerprint, credential_hint, token_version, last_refresh_time, quota, next_check_at, checks, fence_counter, use_count, last_used, turns, input_tokens, output_tokens, credits, holders, exclusive_held, shared_slots, created_at, updated_at, bearer, bearer_expires_at, next_refresh_at, refresh_failure, source_handle, state_since, quota_remaining, team_uid, cost_cents) VALUES (1, 'acc_bff50244-2083-411b-85a3-c12f4b8e8d7b', 'warp', 'key@example.com', 'the first', 16, NULL, 0, 'any', 0, 'active', NULL, NULL, NULL, 0, 0, '{"rateLimited":0,"refused":0,"failures":0,"quotaUnknown":0,"sameIncident":0}', 'proved', 'api', 'api_key', 'v1.9Wvom45z_u8vkOND7y-tPt-Zqm5fzCYiDVkYGOhC71w', 'ed44ef4d12708ed0f0db061e5e572bcccd1d7d6e3f1bcba07d3f251ebb195667', '****', 1, NULL, '{"isUnlimited":false,"limit":100000,"used":0,"remaining":100000,"resetAt":1796283422454,"denialReason":null,"checkedAt":1795678631396}', 1795679531396, 0, 1, 1, 1795678633397, 3, 309, 18, 3, 1, 0, 1, 1795678631397, 1795678631397, NULL, NULL, NULL, NULL, NULL, 1795678631397, 100000, NULL, 1.5);
INSERT INTO accounts (seq, id, provider, email, label, capacity, models, free, lend, tier, state, state_until, state_reason, state_evidence, half_open, quota_spent, streaks, probe, source, credential_kind, credential, credential_fingerprint, credential_hint, token_version, last_refresh_time, quota, next_check_at, checks, fence_counter, use_count, last_used, turns, input_tokens, output_tokens, credits, holders, exclusive_held, shared_slots, created_at, updated_at, bearer, bearer_expires_at, next_refresh_at, refresh_failure, source_handle, state_since, quota_remaining, team_uid, cost_cents) VALUES (2, 'acc_6dc1c296-332c-44e9-8970-c927772446d6', 'warp', 'user-1@sandbox.invalid', NULL, 16, NULL, 0, 'any', 0, 'active', NULL, NULL, NULL, 0, 0, '{"rateLimited":0,"refused":0,"failures":0,"quotaUnknown":0,"sameIncident":0}', 'proved', 'api', 'refresh_token', 'v1.D0OTcjxOl4jXox8-gIQAKZkoV_LbQtzCC7lfFRo9QzETF3C7hw94oRoPU6joIkI6TGuO', 'e63320b85acb51fcc31dc04ed1583ae3c7dbbfe34bb25c323106a9a6218d8be3', 'en-1', 2, 1795678638991, '{"isUnlimited":false,"limit":100000,"used":0,"remaining":100000,"resetAt":1796283422454,"denialReason":null,"checkedAt":1795678639015}', 1795679715415, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1795678638959, 1795678638991, 'v1.GkKI-KB69t-NBBmJzatdrmfyWrC97S7PZfHBjeldOB8t2MQQIs0xJQnFl0NfsKZUHMkDDgdKRhqnSoqxHQ4k0wpw3M0gyHEtg_B2PBbaWpFmwQoMX6maC8facg8HwR1RCvQT4i1eQ1coKGcJktq533zLp41WAcsBsWHOAc_FkupITFDUMJ3A3hwsTB88DFZWQTMRp2Z84kNKdgsuBK48V1HobkqiMm2w78mlctkqtIfNlSYxDoVAjvtvrMAggDLUvyR0XTi-_7r9_I20wj8WOdpExwW-gbn3iJ6YJCGq6EoDsIJvkYj5_UzDChwXqWCZb3H5Ss3aTcXM1Hn7_sME5CcccIZeDxxCw7s8z1IXmR9-5VKNSnSrXLayHHKcGf5LVJXxtLse-6m8YOpd3VLaW25WjA2aTCcAwZqYkdFXlNfp6izCH2JaqZiMUw', 1795682238986, 1795682238991, NULL, NULL, 1795678638991, 100000, NULL, 0);
INSERT INTO accounts (seq, id, provider, email, label, capacity, models, free, lend, tier, state, state_until, state_reason, state_evidence, half_open, quota_spent, streaks, probe, source, credential_kind, credential, credential_fingerprint, credential_hint, token_version, last_refresh_time, quota, next_check_at, checks, fence_counter, use_count, last_used, turns, input_tokens, output_tokens, credits, holders, exclusive_held, shared_slots, created_at, updated_at, bearer, bearer_expires_at, next_refresh_at, refresh_failure, source_handle, state_since, quota_remaining, team_uid, cost_cents) VALUES (3, 'acc_fffe0232-fc84-4ee5-bbb0-04e836952f7d', 'warp', 'user-2@sandbox.invalid', NULL, 16, NULL, 0, 'any', 0, 'active', NULL, NULL, NULL, 0, 0, '{"rateLimited":0,"refused":0,"failures":0,"quotaUnknown":0,"sameIncident":0}', 'proved', 'api', 'refresh_token', 'v1.JKeZkZMJwo2dEn_BMcoSIbAa87mWdQhYhy4CMDkv2VuoVq-5TEHLa0caa4dKt0PD57rP', 'cb00dc31b87d192fe9b9b88cf5906556bae8e3fe6a0f9b2e049b8ab3cc729c1e', 'en-2', 2, 1795678639028, '{"isUnlimited":false,"limit":100000,"used":0,"remaining":100000,"resetAt":1796283422454,"denialReason":null,"checkedAt":1795678639034}', 1795679715209, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1795678639019, 1795678639028, 'v1.-lxdsj2-hBM16Uo9BtJ-VFn1GMrCcgdz8IO1x1G8lo8Got6Y9LFhlka5FvQ3BCa6VPF5gJqeud-KPu0bAYMADV4PR4RZuVR0H_rAim-ZSa8FpiL9NDCwcRnBBNlZcttTaDZPsppzYvILALEcowP3g9acB7yAahWVoRaf5TGSc770ghudeikmliaPs8XD38fR2Tyf3nHx2QhXDnVVLP9QbQmKnbR4QJJ_WPzhCaHYqdyaeLPL4PpfNHOYdBDRyU5NXe7WRV1oUi_KUzEsqfJsolD2jfkKx7ubq5OrEoM72Gx6OS4Ob5Sf8ZLsbDMub7YWsBGT9BSlAHsQvqbQPZ_IG1cbv2q2eIfEpJoXa6UftTm-VeGb-GWNcMcD0kUbR104syUPp1hVDGyBWqDq8Cye3ouNWzi_TQl7ECgtpJBF4W2EjmQmRvjPkS68DQ', 1795682239028, 1795682239028, NULL, NULL, 1795678639028, 100000, NULL, 0);
INSERT INTO accounts (seq, id, provider, email, label, capacity, models, free, lend, tier, state, state_until, state_reason, state_evidence, half_open, quota_spent, streaks, probe, source, credential_kind, credential, credential_fingerprint, credential_hint, token_version, last_refresh_time, quota, next_check_at, checks, fence_counter, use_count, last_used, turns, input_tokens, output_tokens, credits, holders, exclusive_held, shared_slots, created_at, updated_at, bearer, bearer_expires_at, next_refresh_at, refresh_failure, source_handle, state_since, quota_remaining, team_uid, cost_cents) VALUES (4, 'acc_fd145f77-6176-4829-9e0e-7c29f5918f27', 'oz', NULL, NULL, 16, NULL, 0, 'any', 0, 'active', NULL, NULL, NULL, 0, 0, '{"rateLimited":0,"refused":0,"failures":0,"quotaUnknown":0,"sameIncident":0}', 'proved', 'api', 'api_key', 'v1.s4M57OjUTA5gK405PyRSxpztFMzX6rWQ7_A6IngopJId', 'f5d31137b0c968d8db54915bb554ebdb09bd0c2c9b341a62320e3786dcd1af21', '****', 1, NULL, '{"isUnlimited":false,"limit":null,"used":null,"remaining":null,"resetAt":null,"denialReason":null,"checkedAt":1795678639085}', 1795679539085, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1795678639085, 1795678639085, NULL, NULL, NULL, NULL, NULL, 1795678639085, NULL, NULL, 0);
INSERT INTO accounts (seq, id, provider, email, label, capacity, models, free, lend, tier, state, state_until, state_reason, state_evidence, half_open, quota_spent, streaks, probe, source, credential_kind, credential, credential_fingerprint, credential_hint, token_version, last_refresh_time, quota, next_check_at, checks, fence_counter, use_count, last_used, turns, input_tokens, output_tokens, credits, holders, exclusive_held, shared_slots, created_at, updated_at, bearer, bearer_expires_at, next_refresh_at, refresh_failure, source_handle, state_since, quota_remaining, team_uid, cost_cents) VALUES (5, 'acc_9a6bb177-931d-44c6-bf88-980fbb633385', 'openai', NULL, NULL, 16, NULL, 0, 'any', 0, 'active', NULL, NULL, NULL, 0, 0, '{"rateLimited":0,"refused":0,"failures":0,"quotaUnknown":0,"sameIncident":0}', 'proved', 'api', 'api_key', 'v1.yM5R8ouA3wxq2o6BVsRHG--PnreUCGK7viJbqNF5Syp7sgVCk_X7', '629a638ed7fc1a7bc071b3f31db07f0b245912545b655bdb6b6a3a8b62363a81', '****', 1, NULL, NULL, 1795679665401, 0, 1, 1, 1795678640751, 1, 5, 7, 0, 1, 1, 0, 1795678639142, 1795678639142, NULL, NULL, NULL, NULL, NULL, 1795678639142, NULL, NULL, 0);
INSERT INTO accounts (seq, id, provider, email, label, capacity, models, free, lend, tier, state, state_until, state_reason, state_evidence, half_open, quota_spent, streaks, probe, source, credential_kind, credential, credential_fingerprint, credential_hint, token_version, last_refresh_time, quota, next_check_at, checks, fence_counter, use_count, last_used, turns, input_tokens, output_tokens, credits, holders, exclusive_held, shared_slots, created_at, updated_at, bearer, bearer_expires_at, next_refresh_at, refresh_failure, source_handle, state_since, quota_remaining, team_uid, cost_cents) VALUES (6, 'acc_d84f1233-841b-43de-bd73-b9acaf9f98f9', 'anthropic', NULL, NULL, 3, NULL, 0, 'any', 2, 'disabled', NULL, 'owner', NULL, 0, 0, '{"rateLimited":0,"refused":0,"failures":0,"quotaUnknown":0,"sameIncident":0}', 'unproved', 'api', 'api_key', 'v1.flFn3IkCxzO2exyhtAZvyEnVSymHJu0Y5C164LJswmvj6-CB', '4789d0246cf9bb9f26b795dd8aa24949f479b74fd092cbc0abc09ec20b3351b9', '****', 1, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1795678639169, 1795678640688, NULL, NULL, NULL, NULL, NULL, 1795678640688, NULL, NULL, 0);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  key_id TEXT NOT NULL,
  is_gateway INTEGER NOT NULL,
  exclusive INTEGER NOT NULL,
  provider TEXT,
  ttl_ms INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO sessions (id, key_id, is_gateway, exclusive, provider, ttl_ms, expires_at, created_at) VALUES ('gateway:ff72b47e:1', 'gateway', 1, 0, 'warp', 120000, 1795678753397, 1795678632269);
INSERT INTO sessions (id, key_id, is_gateway, exclusive, provider, ttl_ms, expires_at, created_at) VALUES ('job-1', 'local', 0, 1, 'openai', 1800000, 1795680440751, 1795678640736);
CREATE TABLE leases (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  account_id TEXT NOT NULL REFERENCES accounts (id),
  fence INTEGER NOT NULL,
  slots INTEGER NOT NULL CHECK (slots >= 1),
  exclusive INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (session_id, account_id)
) STRICT, WITHOUT ROWID;
INSERT INTO leases (session_id, account_id, fence, slots, exclusive, created_at) VALUES ('gateway:ff72b47e:1', 'acc_bff50244-2083-411b-85a3-c12f4b8e8d7b', 1, 1, 0, 1795678632269);
INSERT INTO leases (session_id, account_id, fence, slots, exclusive, created_at) VALUES ('job-1', 'acc_9a6bb177-931d-44c6-bf88-980fbb633385', 1, 1, 1, 1795678640736);
CREATE TABLE reports_seen (
  key_id TEXT NOT NULL,
  report_id TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (key_id, report_id)
) STRICT, WITHOUT ROWID;
INSERT INTO reports_seen (key_id, report_id, seen_at) VALUES ('gateway gateway:ff72b47e:1', '386428ea-11de-449c-96e2-3e828d2faca2', 1795678633397);
INSERT INTO reports_seen (key_id, report_id, seen_at) VALUES ('gateway gateway:ff72b47e:1', '7e9082a2-29f9-43ff-9671-aa22fcd4dffe', 1795678633397);
INSERT INTO reports_seen (key_id, report_id, seen_at) VALUES ('gateway gateway:ff72b47e:1', 'd4630482-51ef-4d42-b90f-998d30fe8bc5', 1795678633397);
INSERT INTO reports_seen (key_id, report_id, seen_at) VALUES ('local job-1', 'report-1', 1795678640751);
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  account_id TEXT,
  detail TEXT NOT NULL
) STRICT;
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (1, 1795678631397, 'local', 'account-added', 'acc_bff50244-2083-411b-85a3-c12f4b8e8d7b', '{"provider":"warp","source":"api","status":"active"}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (2, 1795678638959, 'local', 'account-added', 'acc_6dc1c296-332c-44e9-8970-c927772446d6', '{"provider":"warp","source":"api","status":"cooldown"}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (3, 1795678639019, 'local', 'account-added', 'acc_fffe0232-fc84-4ee5-bbb0-04e836952f7d', '{"provider":"warp","source":"api","status":"cooldown"}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (4, 1795678639085, 'local', 'account-added', 'acc_fd145f77-6176-4829-9e0e-7c29f5918f27', '{"provider":"oz","source":"api","status":"active"}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (5, 1795678639142, 'local', 'account-added', 'acc_9a6bb177-931d-44c6-bf88-980fbb633385', '{"provider":"openai","source":"api","status":"active"}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (6, 1795678639169, 'local', 'account-added', 'acc_d84f1233-841b-43de-bd73-b9acaf9f98f9', '{"provider":"anthropic","source":"api","status":"active"}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (7, 1795678640688, 'local', 'account-changed', 'acc_d84f1233-841b-43de-bd73-b9acaf9f98f9', '{"enabled":false}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (8, 1795678640706, 'local', 'login-started', NULL, '{"login_id":"login_844c8d8f-242c-489e-9cad-2c2b06eb0233","provider":"warp"}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (9, 1795678640736, 'local', 'lease', 'acc_9a6bb177-931d-44c6-bf88-980fbb633385', '{"session_id":"job-1","fence":1}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (10, 1795678640762, 'local', 'refresh-forced', 'acc_fffe0232-fc84-4ee5-bbb0-04e836952f7d', '{"email":null,"accounts":1}');
INSERT INTO audit (seq, at, actor, action, account_id, detail) VALUES (11, 1795678640763, 'local', 'ceiling-passed', 'acc_fffe0232-fc84-4ee5-bbb0-04e836952f7d', '{"past_ceiling":true,"past_backoff":false}');
CREATE TABLE counters (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  sessions INTEGER NOT NULL DEFAULT 0
, remaining REAL NOT NULL DEFAULT 0, unmetered INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO counters (id, sessions, remaining, unmetered) VALUES (1, 2, 300000, 2);
CREATE TABLE refreshes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  instance TEXT NOT NULL,
  actor TEXT NOT NULL,
  forced INTEGER NOT NULL CHECK (forced IN (0, 1)),
  intent_at INTEGER NOT NULL,
  -- When the ceiling opens again if this attempt counts.
  opens_at INTEGER NOT NULL,
  limit_at INTEGER NOT NULL,
  -- Of the credential it was made with.
  token_version INTEGER NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('intent', 'committed', 'superseded', 'invalid_grant', 'account_gone', 'refused', 'unsent',
      'unknown', 'interrupted')),
  finished_at INTEGER
) STRICT;
INSERT INTO refreshes (seq, id, account_id, instance, actor, forced, intent_at, opens_at, limit_at, token_version, state, finished_at) VALUES (1, 'd02f1f15-2753-458a-85b3-dc806209a226', 'acc_6dc1c296-332c-44e9-8970-c927772446d6', 'the only one', 'local', 0, 1795678638969, 1795682238991, 1795678698969, 1, 'committed', 1795678638991);
INSERT INTO refreshes (seq, id, account_id, instance, actor, forced, intent_at, opens_at, limit_at, token_version, state, finished_at) VALUES (2, '38c026c9-4eed-4fb3-ac33-7d7a257aef41', 'acc_fffe0232-fc84-4ee5-bbb0-04e836952f7d', 'the only one', 'local', 0, 1795678639021, 1795682239028, 1795678699021, 1, 'committed', 1795678639028);
INSERT INTO refreshes (seq, id, account_id, instance, actor, forced, intent_at, opens_at, limit_at, token_version, state, finished_at) VALUES (3, '5455ce86-bf8e-4a0d-b4f0-6a3d2208f4b7', 'acc_fffe0232-fc84-4ee5-bbb0-04e836952f7d', 'the only one', 'local', 1, 1795678640763, 1795682240763, 1795678700763, 2, 'intent', NULL);
CREATE TABLE known_credentials (
  provider TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  -- By its owner. Those that came by rotation are kept for a while only.
  is_given INTEGER NOT NULL CHECK (is_given IN (0, 1)),
  PRIMARY KEY (provider, fingerprint)
) STRICT, WITHOUT ROWID;
INSERT INTO known_credentials (provider, fingerprint, account_id, is_given) VALUES ('anthropic', '4789d0246cf9bb9f26b795dd8aa24949f479b74fd092cbc0abc09ec20b3351b9', 'acc_d84f1233-841b-43de-bd73-b9acaf9f98f9', 1);
INSERT INTO known_credentials (provider, fingerprint, account_id, is_given) VALUES ('openai', '629a638ed7fc1a7bc071b3f31db07f0b245912545b655bdb6b6a3a8b62363a81', 'acc_9a6bb177-931d-44c6-bf88-980fbb633385', 1);
INSERT INTO known_credentials (provider, fingerprint, account_id, is_given) VALUES ('oz', 'f5d31137b0c968d8db54915bb554ebdb09bd0c2c9b341a62320e3786dcd1af21', 'acc_fd145f77-6176-4829-9e0e-7c29f5918f27', 1);
INSERT INTO known_credentials (provider, fingerprint, account_id, is_given) VALUES ('warp', 'cb00dc31b87d192fe9b9b88cf5906556bae8e3fe6a0f9b2e049b8ab3cc729c1e', 'acc_fffe0232-fc84-4ee5-bbb0-04e836952f7d', 1);
INSERT INTO known_credentials (provider, fingerprint, account_id, is_given) VALUES ('warp', 'e63320b85acb51fcc31dc04ed1583ae3c7dbbfe34bb25c323106a9a6218d8be3', 'acc_6dc1c296-332c-44e9-8970-c927772446d6', 1);
INSERT INTO known_credentials (provider, fingerprint, account_id, is_given) VALUES ('warp', 'ed44ef4d12708ed0f0db061e5e572bcccd1d7d6e3f1bcba07d3f251ebb195667', 'acc_bff50244-2083-411b-85a3-c12f4b8e8d7b', 1);
CREATE TABLE removed_intents (
  provider TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  intent_at INTEGER NOT NULL,
  PRIMARY KEY (provider, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE TABLE spending (
  minute INTEGER PRIMARY KEY,
  turns INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  credits REAL NOT NULL DEFAULT 0
, cost_cents REAL NOT NULL DEFAULT 0) STRICT;
INSERT INTO spending (minute, turns, input_tokens, output_tokens, credits, cost_cents) VALUES (29927977, 4, 314, 25, 3, 1.5);
CREATE TABLE standings (
  provider TEXT NOT NULL,
  kind INTEGER NOT NULL,
  accounts INTEGER NOT NULL CHECK (accounts >= 0),
  PRIMARY KEY (provider, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO standings (provider, kind, accounts) VALUES ('anthropic', 1, 0);
INSERT INTO standings (provider, kind, accounts) VALUES ('anthropic', 5, 1);
INSERT INTO standings (provider, kind, accounts) VALUES ('openai', 1, 0);
INSERT INTO standings (provider, kind, accounts) VALUES ('openai', 321, 1);
INSERT INTO standings (provider, kind, accounts) VALUES ('oz', 1, 1);
INSERT INTO standings (provider, kind, accounts) VALUES ('warp', 1, 2);
INSERT INTO standings (provider, kind, accounts) VALUES ('warp', 2, 0);
INSERT INTO standings (provider, kind, accounts) VALUES ('warp', 65, 1);
DELETE FROM sqlite_sequence WHERE name = 'accounts';
INSERT INTO sqlite_sequence VALUES ('accounts', 6);
DELETE FROM sqlite_sequence WHERE name = 'audit';
INSERT INTO sqlite_sequence VALUES ('audit', 11);
DELETE FROM sqlite_sequence WHERE name = 'refreshes';
INSERT INTO sqlite_sequence VALUES ('refreshes', 3);
CREATE INDEX accounts_unheld ON accounts (tier, last_used, id)
  WHERE state = 'active' AND holders = 0;
CREATE INDEX accounts_unheld_by_provider ON accounts (provider, tier, last_used, id)
  WHERE state = 'active' AND holders = 0;
CREATE INDEX accounts_shareable ON accounts (tier, last_used, id)
  WHERE state = 'active' AND exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0);
CREATE INDEX accounts_shareable_by_provider ON accounts (provider, tier, last_used, id)
  WHERE state = 'active' AND exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0);
CREATE INDEX accounts_active ON accounts (provider) WHERE state = 'active';
CREATE INDEX accounts_free_spent ON accounts (provider, state_until) WHERE free = 1 AND quota_spent = 1;
CREATE INDEX accounts_resting ON accounts (state_until) WHERE state_until IS NOT NULL;
CREATE INDEX accounts_to_check ON accounts (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX accounts_by_email ON accounts (email COLLATE NOCASE) WHERE email IS NOT NULL;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX leases_by_account ON leases (account_id);
CREATE INDEX reports_seen_by_age ON reports_seen (seen_at);
CREATE TRIGGER sessions_counted_in AFTER INSERT ON sessions BEGIN
  UPDATE counters SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_counted_out AFTER DELETE ON sessions BEGIN
  UPDATE counters SET sessions = sessions - 1;
END;
CREATE INDEX accounts_lapsing ON accounts (bearer_expires_at)
  WHERE bearer_expires_at IS NOT NULL AND state = 'active';
CREATE INDEX accounts_to_refresh ON accounts (next_refresh_at) WHERE next_refresh_at IS NOT NULL;
CREATE INDEX accounts_dead ON accounts (state_since) WHERE state IN ('reauth_required', 'disabled');
CREATE UNIQUE INDEX refreshes_under_way ON refreshes (account_id) WHERE state = 'intent';
CREATE INDEX refreshes_by_account ON refreshes (account_id, intent_at);
CREATE INDEX refreshes_by_limit ON refreshes (limit_at) WHERE state = 'intent';
CREATE INDEX known_credentials_by_account ON known_credentials (account_id);
CREATE INDEX removed_intents_by_age ON removed_intents (intent_at);
CREATE INDEX audit_by_account ON audit (account_id, seq) WHERE account_id IS NOT NULL;
CREATE TRIGGER accounts_metered_in AFTER INSERT ON accounts BEGIN
  UPDATE counters SET remaining = remaining + (CASE WHEN (NEW.state IN ('active', 'cooldown', 'exhausted')) THEN COALESCE(NEW.quota_remaining, 0) ELSE 0 END), unmetered = unmetered + ((NEW.state IN ('active', 'cooldown', 'exhausted')) AND NEW.quota_remaining IS NULL);
END;
CREATE TRIGGER accounts_metered_out AFTER DELETE ON accounts BEGIN
  UPDATE counters SET remaining = remaining - (CASE WHEN (OLD.state IN ('active', 'cooldown', 'exhausted')) THEN COALESCE(OLD.quota_remaining, 0) ELSE 0 END), unmetered = unmetered - ((OLD.state IN ('active', 'cooldown', 'exhausted')) AND OLD.quota_remaining IS NULL);
END;
CREATE TRIGGER accounts_remetered AFTER UPDATE OF state, quota_remaining ON accounts
WHEN (OLD.state IN ('active', 'cooldown', 'exhausted')) <> (NEW.state IN ('active', 'cooldown', 'exhausted')) OR OLD.quota_remaining IS NOT NEW.quota_remaining
BEGIN
  UPDATE counters SET remaining = remaining + (CASE WHEN (NEW.state IN ('active', 'cooldown', 'exhausted')) THEN COALESCE(NEW.quota_remaining, 0) ELSE 0 END) - (CASE WHEN (OLD.state IN ('active', 'cooldown', 'exhausted')) THEN COALESCE(OLD.quota_remaining, 0) ELSE 0 END),
    unmetered = unmetered + ((NEW.state IN ('active', 'cooldown', 'exhausted')) AND NEW.quota_remaining IS NULL) - ((OLD.state IN ('active', 'cooldown', 'exhausted')) AND OLD.quota_remaining IS NULL);
END;
CREATE TRIGGER accounts_counted_in AFTER INSERT ON accounts BEGIN
  INSERT INTO standings (provider, kind, accounts) VALUES (NEW.provider, NEW.kind, 1)
    ON CONFLICT (provider, kind) DO UPDATE SET accounts = accounts + 1;
END;
CREATE TRIGGER accounts_counted_out AFTER DELETE ON accounts BEGIN
  UPDATE standings SET accounts = accounts - 1 WHERE provider = OLD.provider AND kind = OLD.kind;
END;
CREATE TRIGGER accounts_recounted
AFTER UPDATE OF state, state_reason, lend, free, holders, half_open, exclusive_held, shared_slots, capacity, models
ON accounts WHEN OLD.kind <> NEW.kind
BEGIN
  UPDATE standings SET accounts = accounts - 1 WHERE provider = OLD.provider AND kind = OLD.kind;
  INSERT INTO standings (provider, kind, accounts) VALUES (NEW.provider, NEW.kind, 1)
    ON CONFLICT (provider, kind) DO UPDATE SET accounts = accounts + 1;
END;
CREATE INDEX accounts_resting_by_provider ON accounts (provider, state_until) WHERE state_until IS NOT NULL;
CREATE INDEX accounts_with_models ON accounts (provider) WHERE models IS NOT NULL;
CREATE INDEX accounts_by_provider ON accounts (provider, seq);
CREATE INDEX accounts_by_label ON accounts (label COLLATE NOCASE) WHERE label IS NOT NULL;
CREATE INDEX sessions_of_gateways ON sessions (expires_at) WHERE is_gateway = 1;
