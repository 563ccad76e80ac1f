/** A county with more villages than any has, a camera in each, for looking at how lists of cameras cope. */
const VILLAGES = 13_215;
const TROUBLES = ['unreachable', 'black', 'refused'];

export function fillVillages(state) {
  const [county] = state.regionsBelow(null);
  const townships = state.regionsBelow(county.code);
  const villages = Array.from({ length: VILLAGES }, (_, at) => {
    const township = townships[at % townships.length];
    const number = Math.floor(at / townships.length) + 1;
    return { code: `${township.code}${99 + number}`, name: `${township.name.slice(0, 2)}第${number}村`, level: 'village', parent: township.code };
  });
  const [known] = state.cameras;
  state.cameras = villages.map(({ code, name }, at) => ({
    ...known, id: `v${at}`, site_id: `sv${at}`, site_name: `${name}委会`, region_code: code, recorder_id: `rv${at}`, name: at % 3 === 0 ? '村口' : '文化广场',
    state: { name: at % 50 === 7 ? TROUBLES[at % 3] : 'ok', since_ms: known.state.since_ms, detail: '' },
  }));
  const below = state.regionsBelow;
  state.regionsBelow = (parent) => (parent?.length === 9 ? villages.filter((village) => village.parent === parent) : below(parent));
}
