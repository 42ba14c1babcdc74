import { AppShell, Burger } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import {
  IconApi,
  IconChartCandle,
  IconChartLine,
  IconFileSearch,
  IconGauge,
  IconHistory,
  IconListDetails,
  IconPlayerPlay,
  IconSettings,
} from "@tabler/icons-react";
import { Link, Outlet } from "@tanstack/react-router";
import { useMessages } from "../i18n";
import { ConnectionState } from "../live/ConnectionState";
import { LiveProvider } from "../live/LiveProvider";
import icon from "./icon.svg";
import { Shortcuts } from "./keyboard/Shortcuts";
import { SettingsMenu } from "./SettingsMenu";
import classes from "./Shell.module.css";

const ICON = { size: 18, stroke: 1.7, "aria-hidden": true } as const;

/** The frame of every page: the header with the state of the connection, the navigation, and the content. */
export function Shell() {
  const { app, audit, backfills, reports, series, settings } = useMessages();
  const [opened, navigation] = useDisclosure(false);
  return (
    <LiveProvider>
      <a className="skip-link" href="#content">
        {app.skip}
      </a>
      <AppShell
        header={{ height: 56 }}
        navbar={{ width: 208, breakpoint: "sm", collapsed: { mobile: !opened } }}
        padding={0}
      >
        <AppShell.Header className={classes.header}>
          <Burger opened={opened} onClick={navigation.toggle} hiddenFrom="sm" size="sm" aria-label={app.openMenu} />
          <Link to="/" className={classes.brand} aria-label={app.name}>
            <img src={icon} alt="" />
            <span className={classes.brandText}>{app.name}</span>
          </Link>
          <div className={classes.spacer} />
          <ConnectionState />
          <Shortcuts />
          <SettingsMenu />
        </AppShell.Header>
        <AppShell.Navbar className={classes.navbar} aria-label={app.menu} data-closed={!opened || undefined}>
          <Link to="/" className={classes.link} activeOptions={{ exact: true }} onClick={navigation.close}>
            <IconGauge {...ICON} /> {app.overview}
          </Link>
          <Link to="/configs" className={classes.link} onClick={navigation.close}>
            <IconListDetails {...ICON} /> {app.configs}
          </Link>
          <Link to="/series" className={classes.link} onClick={navigation.close}>
            <IconChartCandle {...ICON} /> {series.title}
          </Link>
          <Link to="/runs" className={classes.link} onClick={navigation.close}>
            <IconPlayerPlay {...ICON} /> {app.runs}
          </Link>
          <Link to="/backfills" className={classes.link} onClick={navigation.close}>
            <IconHistory {...ICON} /> {backfills.title}
          </Link>
          <Link to="/reports" className={classes.link} onClick={navigation.close}>
            <IconChartLine {...ICON} /> {reports.title}
          </Link>
          <Link to="/audit" className={classes.link} onClick={navigation.close}>
            <IconFileSearch {...ICON} /> {audit.title}
          </Link>
          <div className={classes.spacer} />
          <Link to="/settings" className={classes.link} onClick={navigation.close}>
            <IconSettings {...ICON} /> {settings.title}
          </Link>
          <a href="/docs" className={classes.link}>
            <IconApi {...ICON} /> {app.apiDocs}
          </a>
        </AppShell.Navbar>
        <AppShell.Main>
          <div id="content" className={classes.main}>
            <Outlet />
          </div>
        </AppShell.Main>
      </AppShell>
    </LiveProvider>
  );
}
