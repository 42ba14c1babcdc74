import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** The API behind `npm run dev`. */
const API = process.env.CANDLEKEEP_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  // admin-api replaces the placeholder by a new nonce in each response.
  html: { cspNonce: "CSP_NONCE" },
  build: {
    manifest: true,
    target: "es2022",
    // An inlined file would be a data: URL, which the policy of the page does not allow for fonts and scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": API, "/docs": API, "/openapi.json": API } },
});
