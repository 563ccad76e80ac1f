/** The stand-in hub's order keys: of two villages, one of which has just changed its own, and of a township. */
const DAY = 86_400_000;

const KEYS = [
  ['411728102-a', 20, null, 0],
  ['411728102200-a', 70, 12, 1],
  ['411728102200-b', 8, 0.02, 1],
  ['411728102201-a', 3, 1, 1],
];

export function createOrderKeys({ state, problem }) {
  const begun = Date.now();
  let keys = KEYS.map(([issuer, days, used_days, gateways]) => {
    const region_code = issuer.slice(0, -2);
    const not_before_ms = begun - days * DAY;
    return {
      issuer, region_code, region_name: state.name(region_code), not_before_ms, not_after_ms: not_before_ms + 90 * DAY,
      last_used_ms: used_days === null ? null : begun - used_days * DAY, gateways,
    };
  });

  function withdraw(issuer, body, person) {
    if (!person.rights.includes('region.manage')) return problem(403, '您没有这个权限。', 'not_allowed');
    const found = keys.find((key) => key.issuer === issuer);
    if (found === undefined) return problem(404, '没有这把密钥。', 'not_found');
    if (!body.reason?.trim()) return problem(422, '应为 1 至 200 个字', 'invalid');
    const gateways = Math.max(...keys.filter(({ region_code }) => region_code === found.region_code).map((key) => key.gateways));
    keys = keys.filter(({ region_code }) => region_code !== found.region_code);
    return { body: { gateways } };
  }

  return {
    routes: {
      'GET /order-keys': () => ({ body: { order_keys: keys } }),
      'POST /order-keys/:id/withdraw': ({ id, body, person }) => withdraw(id, body, person),
    },
  };
}
