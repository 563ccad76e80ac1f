import tseslint from 'typescript-eslint';
import vue from 'eslint-plugin-vue';

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'shared/api/schema.ts'] },
  ...tseslint.configs.strict,
  ...vue.configs['flat/recommended'],
  {
    files: ['**/*.vue'],
    languageOptions: { parserOptions: { parser: tseslint.parser } },
    rules: {
      'vue/block-order': ['error', { order: ['script', 'template', 'style'] }],
      'vue/no-v-html': 'error',
      // The policy the hub serves forbids inline styles.
      'vue/no-static-inline-styles': ['error', { allowBinding: false }],
      'vue/max-attributes-per-line': 'off',
      'vue/singleline-html-element-content-newline': 'off',
      'vue/html-self-closing': ['error', { html: { void: 'always', normal: 'always', component: 'always' } }],
    },
  },
  {
    // Only the page's clock reads a clock; everything else is told the time.
    files: ['{command,field,shared,village}/**/*.{ts,vue}'],
    ignores: ['shared/page/clock.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'Ask shared/page/clock.ts for the time.' },
        { object: 'performance', property: 'now', message: 'Ask shared/page/clock.ts for the time.' },
      ],
    },
  },
  {
    // Components never fetch: they ask the api client, which returns a result.
    files: ['**/*.vue'],
    rules: { 'no-restricted-globals': ['error', 'fetch', 'EventSource', 'localStorage'] },
  },
);
