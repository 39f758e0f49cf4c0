// An OpenID provider on loopback, for tests: they move its clock and count what it grants and refuses.
import { createServer } from 'node:http';
import { once } from 'node:events';
import Provider from 'oidc-provider';

let clockShift = 0;
const systemTime = Date.now;
Date.now = () => systemTime() + clockShift;

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const SECRET = 'a b+c%d:e/f&g=h_0123456789abcdef';
const HOUR = 3600;

// The library's own adapter forgets all but the newest 1,000 records.
const records = new Map();

class MapAdapter {
  constructor(model) {
    this.prefix = `${model}:`;
  }

  async upsert(id, payload) {
    records.set(this.prefix + id, payload);
  }

  async find(id) {
    return records.get(this.prefix + id);
  }

  async findByUid(uid) {
    return this.all().map(([, payload]) => payload).find((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.all().map(([, payload]) => payload).find((payload) => payload.userCode === userCode);
  }

  async consume(id) {
    records.get(this.prefix + id).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    records.delete(this.prefix + id);
  }

  async revokeByGrantId(grantId) {
    this.all().filter(([, payload]) => payload.grantId === grantId).forEach(([key]) => records.delete(key));
  }

  all() {
    return [...records].filter(([key]) => key.startsWith(this.prefix));
  }
}

function client(id, authentication) {
  return {
    client_id: id,
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token', DEVICE],
    redirect_uris: ['http://127.0.0.1/callback'],
    response_types: ['code'],
    token_endpoint_auth_method: authentication,
    ...(authentication !== 'none' && { client_secret: SECRET }),
  };
}

const server = createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  adapter: MapAdapter,
  clients: [
    client('public', 'none'),
    client('basic', 'client_secret_basic'),
    client('post', 'client_secret_post'),
  ],
  clockTolerance: 0,
  conformIdTokenClaims: false,
  cookies: { keys: ['for tests'] },
  features: {
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: true,
  ttl: {
    AccessToken: HOUR,
    AuthorizationCode: 60,
    DeviceCode: 600,
    Grant: 336 * HOUR,
    IdToken: HOUR,
    Interaction: HOUR,
    RefreshToken: 336 * HOUR,
    Session: 336 * HOUR,
  },
});

let granted = {};
let refused = {};
const count = (counts, name) => { counts[name] = (counts[name] ?? 0) + 1; };
provider.on('grant.success', (context) => count(granted, context.oidc.params.grant_type));
provider.on('grant.error', (_, error) => count(refused, error.error_detail ?? error.error));
provider.on('server_error', (_, error) => console.error(error));

const commands = {
  counts: () => ({ granted, refused }),
  reset() {
    clockShift = 0;
    granted = {};
    refused = {};
  },
  shift: ({ seconds }) => { clockShift += Number(seconds) * 1000; },
  // What a user does on the page of a provider that lists the programs with access.
  withdraw({ account }) {
    for (const [key, payload] of records) {
      if (key.startsWith('Grant:') && payload.accountId === account) records.delete(key);
    }
  },
};

const serve = provider.callback();
server.on('request', (request, response) => {
  const url = new URL(request.url, issuer);
  const command = commands[url.pathname.match(/^\/test\/(\w+)$/)?.[1]];
  if (!command) {
    serve(request, response);
    return;
  }
  const answer = command(Object.fromEntries(url.searchParams)) ?? {};
  response.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer));
});
console.log(`listening on ${issuer}`);
