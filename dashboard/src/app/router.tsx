import { Button } from "@mantine/core";
import {
  createRootRoute,
  createRoute,
  createRouter,
  type ErrorComponentProps,
  Link,
  lazyRouteComponent,
} from "@tanstack/react-router";
import { auditSearch } from "../audit/search";
import { backfillSearch, backfillsSearch } from "../backfills/search";
import { EmptyState, ErrorState } from "../components/states";
import { configsSearch } from "../configs/search";
import { useMessages } from "../i18n";
import { reportsSearch } from "../reports/search";
import { runsSearch } from "../runs/search";
import { chartSearch, seriesSearch } from "../series/search";
import { Shell } from "./Shell";

function NotFound() {
  const { app } = useMessages();
  return (
    <EmptyState
      title={app.notFound}
      hint={app.notFoundHint}
      action={
        <Button component={Link} to="/" variant="default">
          {app.toOverview}
        </Button>
      }
    />
  );
}

function Crashed({ error, reset }: ErrorComponentProps) {
  return <ErrorState error={error} onRetry={reset} />;
}

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound, errorComponent: Crashed });

const overview = createRoute({
  getParentRoute: () => root,
  path: "/",
  component: lazyRouteComponent(() => import("../overview/OverviewPage"), "OverviewPage"),
});

const configs = createRoute({
  getParentRoute: () => root,
  path: "/configs",
  validateSearch: configsSearch,
  component: lazyRouteComponent(() => import("../configs/ConfigsPage"), "ConfigsPage"),
});

const runs = createRoute({
  getParentRoute: () => root,
  path: "/runs",
  validateSearch: runsSearch,
  component: lazyRouteComponent(() => import("../runs/RunsPage"), "RunsPage"),
});

const run = createRoute({
  getParentRoute: () => root,
  path: "/runs/$logId",
  component: lazyRouteComponent(() => import("../runs/RunPage"), "RunPage"),
});

const backfills = createRoute({
  getParentRoute: () => root,
  path: "/backfills",
  validateSearch: backfillsSearch,
  component: lazyRouteComponent(() => import("../backfills/BackfillsPage"), "BackfillsPage"),
});

const backfill = createRoute({
  getParentRoute: () => root,
  path: "/backfills/$backfillId",
  validateSearch: backfillSearch,
  component: lazyRouteComponent(() => import("../backfills/BackfillPage"), "BackfillPage"),
});

const reports = createRoute({
  getParentRoute: () => root,
  path: "/reports",
  validateSearch: reportsSearch,
  component: lazyRouteComponent(() => import("../reports/ReportsPage"), "ReportsPage"),
});

const audit = createRoute({
  getParentRoute: () => root,
  path: "/audit",
  validateSearch: auditSearch,
  component: lazyRouteComponent(() => import("../audit/AuditPage"), "AuditPage"),
});

const settings = createRoute({
  getParentRoute: () => root,
  path: "/settings",
  component: lazyRouteComponent(() => import("../settings/SettingsPage"), "SettingsPage"),
});

const config = createRoute({
  getParentRoute: () => root,
  path: "/configs/$configId",
  component: lazyRouteComponent(() => import("../configs/ConfigPage"), "ConfigPage"),
});

const seriesList = createRoute({
  getParentRoute: () => root,
  path: "/series",
  validateSearch: seriesSearch,
  component: lazyRouteComponent(() => import("../series/SeriesListPage"), "SeriesListPage"),
});

const oneSeries = createRoute({
  getParentRoute: () => root,
  path: "/series/$exchange/$",
  validateSearch: chartSearch,
  component: lazyRouteComponent(() => import("../series/SeriesPage"), "SeriesPage"),
});

/** The address holds plain text values: `?status=failed`, not JSON. */
function stringifySearch(search: Record<string, unknown>): string {
  const entries = Object.entries(search).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(entries.map(([name, value]) => [name, String(value)])).toString();
  return text === "" ? "" : `?${text}`;
}

export const router = createRouter({
  routeTree: root.addChildren([
    overview,
    configs,
    runs,
    run,
    backfills,
    backfill,
    reports,
    audit,
    settings,
    seriesList,
    oneSeries,
    config,
  ]),
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch,
  defaultPreload: "intent",
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
