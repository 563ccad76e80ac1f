// Builds one entry per page. The hub embeds `dist/` and serves it under a strict policy
// (`default-src 'self'`), so nothing may be inlined: no scripts, no styles, no data: assets.
import { fileURLToPath } from 'node:url';
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vitest/config';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** Where `npm run dev` finds a hub: the stand-in of `npm run hub`, or a real one. */
const hub = process.env.TONGLUO_HUB ?? 'http://127.0.0.1:8090';

export default defineConfig({
  plugins: [vue()],
  define: { __VUE_OPTIONS_API__: 'false' },
  build: {
    outDir: 'dist',
    // Phones in the field are years old; light-dark() and nesting are lowered for them.
    target: ['chrome87', 'firefox78', 'safari14'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { command: here('command/index.html'), field: here('field/index.html'), village: here('village/index.html') },
    },
  },
  server: { host: '127.0.0.1', proxy: { '/api': { target: hub, ws: true } } },
  test: { include: ['{command,field,shared,village}/**/*.test.ts'] },
});
