import { defineConfig } from 'vite';

/** `scripts/build.js` names the folder that the page is built to. */
export default defineConfig({
  root: import.meta.dirname,
  base: '/admin/',
  // Said here, since it else follows NODE_ENV, and a build for tests had the paths of its sources in it.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact', development: false } },
  build: {
    target: 'es2023',
    // A file of its own for each picture: the page's policy allows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
