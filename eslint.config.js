import tseslint from 'typescript-eslint';

/** One-way imports: bin -> server -> devices -> schema; ctl imports schema only. */
const forbid = (files, patterns) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns }] },
});

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', '.tap/**', 'bench/results.json'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafePromises: [
            { from: 'package', name: 'PromiseWithSubtest', package: '@tapjs/test' },
            { from: 'package', name: ['PromiseWithSubtest'], package: '@tapjs/core' },
          ],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      'no-console': 'error',
      eqeqeq: 'error',
      'no-empty': 'error',
    },
  },
  { files: ['test/**/*.ts'], rules: { '@typescript-eslint/no-explicit-any': 'off' } },
  forbid(['schema/**/*.ts'], ['*/server/*', '*/devices/*', '*/ctl/*', '*/bin/*']),
  forbid(['devices/**/*.ts'], ['*/server/*', '**/server/**', '*/ctl/*', '*/bin/*', 'koffi']),
  forbid(['ctl/**/*.ts'], ['**/server/**', '**/devices/**', 'koffi']),
);
