import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./app/page.css";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { isProblem } from "./api/problem";
import { router } from "./app/router";
import { theme, variables } from "./app/theme";
import { TimeProvider } from "./app/time";
import { LanguageProvider } from "./i18n";
import { SessionGate } from "./sessions/SessionGate";

/** The policy of the page allows only styles with this nonce. admin-api makes a new one for each response. */
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
setNonce(nonce);

const MAX_RETRIES = 2;
const SERVER_ERROR = 500;
const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      // A request that the API refused is refused again.
      retry: (failures, error) =>
        failures < MAX_RETRIES && isProblem(error) && (error.status === 0 || error.status >= SERVER_ERROR),
    },
  },
});

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no element with the id root");
createRoot(root).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      cssVariablesResolver={variables}
      defaultColorScheme="auto"
      getStyleNonce={() => nonce}
    >
      <LanguageProvider>
        <TimeProvider>
          <QueryClientProvider client={queries}>
            <Notifications position="bottom-right" limit={4} autoClose={5000} />
            <SessionGate>
              <RouterProvider router={router} />
            </SessionGate>
          </QueryClientProvider>
        </TimeProvider>
      </LanguageProvider>
    </MantineProvider>
  </StrictMode>,
);
