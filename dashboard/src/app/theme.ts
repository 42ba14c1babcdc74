import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from "@mantine/core";

const night: MantineColorsTuple = [
  "#eef1fb",
  "#d9dff2",
  "#b1bce4",
  "#8697d7",
  "#6278cb",
  "#4b64c4",
  "#3f59c2",
  "#314aac",
  "#28419b",
  "#1c378a",
];
/** Neutral, with a little blue, so that charts and statuses stand out. */
const dark: MantineColorsTuple = [
  "#d6d9e2",
  "#b9bdca",
  "#9ba1b2",
  "#6d7488",
  "#454c5f",
  "#343a4c",
  "#262b3a",
  "#1b1f2b",
  "#151823",
  "#10131b",
];

/** Deeper than Mantine's own red, on which white text has too little contrast. */
const red: MantineColorsTuple = [
  "#fff0ee",
  "#fbdcd8",
  "#f5b5ae",
  "#ef8d83",
  "#e2675c",
  "#c8433a",
  "#bf362c",
  "#b3261e",
  "#9a1f18",
  "#811811",
];

export const theme = createTheme({
  primaryColor: "night",
  primaryShade: { light: 7, dark: 5 },
  colors: { night, dark, red },
  autoContrast: true,
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
  fontFamilyMonospace: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace",
  headings: { fontWeight: "650" },
  components: {
    // Each dialog has a button with a word that closes it. The cross would be a button without a name.
    Modal: { defaultProps: { withCloseButton: false } },
    // A menu must contain only items. Mantine adds another element that takes the focus; without it, the first item does.
    Menu: { defaultProps: { withInitialFocusPlaceholder: false } },
  },
});

/** Colours with a contrast of at least 4.5 : 1 on their backgrounds. Mantine's own dimmed text has less. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": "#555c6b",
    "--mantine-color-placeholder": "#667085",
    "--mantine-color-error": "#b3261e",
    "--page": "#f5f6f9",
    "--surface": "#ffffff",
    "--line": "#dfe2ea",
    "--hover": "#eef1f8",
    "--active": "#e4e9f8",
    "--active-text": "#1c378a",
    "--success": "#0b7a4b",
    "--success-soft": "#e1f4ea",
    "--failed": "#b3261e",
    "--failed-soft": "#fbe6e4",
    "--running": "#1d5fc2",
    "--running-soft": "#e3edfb",
    "--skipped": "#5a6172",
    "--skipped-soft": "#eceef3",
    "--warning": "#8a5300",
    "--warning-soft": "#fdf0d8",
  },
  dark: {
    "--mantine-color-dimmed": "#9ba1b2",
    "--mantine-color-placeholder": "#8a91a3",
    "--mantine-color-error": "#ff9a92",
    "--mantine-color-anchor": "#a9b8f0",
    "--page": "#10131b",
    "--surface": "#171b26",
    "--line": "#2a3040",
    "--hover": "#1f2431",
    "--active": "#262f50",
    "--active-text": "#c8d3f8",
    "--success": "#5ad19a",
    "--success-soft": "#12342a",
    "--failed": "#ff9a92",
    "--failed-soft": "#41201f",
    "--running": "#86b7ff",
    "--running-soft": "#182c4b",
    "--skipped": "#a3aabb",
    "--skipped-soft": "#272c3a",
    "--warning": "#f2bf63",
    "--warning-soft": "#3a2c10",
  },
});
