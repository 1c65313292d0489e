// What the session `report` of noxfile.py checks: the programs that run in browsers.
const browser = ["document", "getComputedStyle", "matchMedia", "atob", "Blob", "URL", "setTimeout", "clearTimeout", "window",
  "IntersectionObserver"];
const markup = ["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc"];

export default [
  {
    files: ["mlxpy_core/*/*.js"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: {
      ecmaVersion: 2023,
      sourceType: "script",
      globals: Object.fromEntries([...browser, "Plotly"].map((name) => [name, "readonly"])),
    },
    rules: {
      "array-callback-return": "error",
      "consistent-return": "error",
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-redeclare": "error",
      // Texts of runs may be anything: they become text nodes.
      "no-restricted-properties": ["error", ...markup.map((property) => ({ property })),
        { object: "document", property: "write" }],
      "no-shadow": "error",
      "no-undef": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-var": "error",
      "prefer-const": "error",
    },
  },
];
