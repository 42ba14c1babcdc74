import { Button, SegmentedControl, useMantineColorScheme } from "@mantine/core";
import type { ReactNode } from "react";
import { absoluteTime, Time, type TimeStyle, useNow, useTimeStyle } from "../app/time";
import { PageHeader } from "../components/PageHeader";
import { type Language, useLanguage } from "../i18n";
import { useSession } from "../sessions/session";
import { Tokens } from "../tokens/Tokens";
import classes from "./Settings.module.css";

/** How the dashboard looks in this browser, who is signed in, and the tokens. */
export function SettingsPage() {
  const { messages } = useLanguage();
  const { settings, preferences: text, tokens } = messages;
  return (
    <>
      <PageHeader title={settings.title} />
      <section className={classes.card} aria-label={text.display}>
        <h2>{text.display}</h2>
        <p className={classes.hint}>{text.displayHint}</p>
        <Display />
      </section>
      <section className={classes.card} aria-label={text.session}>
        <h2>{text.session}</h2>
        <SessionFacts />
      </section>
      <h2 className={classes.heading}>{tokens.title}</h2>
      <Tokens />
    </>
  );
}

function Display() {
  const { language, messages, setLanguage } = useLanguage();
  const { style, setStyle } = useTimeStyle();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const { settings } = messages;
  return (
    <div className={classes.choices}>
      <Choice label={settings.times} note={<Example style={style} />}>
        <SegmentedControl
          aria-label={settings.times}
          value={style}
          onChange={(value) => setStyle(value as TimeStyle)}
          data={(["utc", "local", "relative"] as const).map((value) => ({ value, label: settings[value] }))}
        />
      </Choice>
      <Choice label={settings.theme}>
        <SegmentedControl
          aria-label={settings.theme}
          value={colorScheme}
          onChange={(value) => setColorScheme(value as "light" | "dark" | "auto")}
          data={[
            { value: "light", label: settings.light },
            { value: "dark", label: settings.dark },
            { value: "auto", label: settings.system },
          ]}
        />
      </Choice>
      <Choice label={settings.language}>
        <SegmentedControl
          aria-label={settings.language}
          value={language}
          onChange={(value) => setLanguage(value as Language)}
          data={[
            { value: "en", label: "English" },
            { value: "it", label: "Italiano" },
          ]}
        />
      </Choice>
    </div>
  );
}

function Choice({ label, note, children }: { label: string; note?: ReactNode; children: ReactNode }) {
  return (
    <div>
      <div className={classes.label}>{label}</div>
      {children}
      {note !== undefined && <div className={classes.note}>{note}</div>}
    </div>
  );
}

/** The time now in the chosen style. */
function Example({ style }: { style: TimeStyle }) {
  const now = useNow();
  const { preferences: text, time } = useLanguage().messages;
  return text.example(style === "relative" ? time.now : absoluteTime(now, style));
}

function SessionFacts() {
  const { messages } = useLanguage();
  const { settings, preferences: text } = messages;
  const { me, signOut } = useSession();
  return (
    <div className={classes.session}>
      <dl>
        <div>
          <dt>{text.name}</dt>
          <dd>{me.name}</dd>
        </div>
        <div>
          <dt>{text.role}</dt>
          <dd>{settings.role[me.role]}</dd>
        </div>
        <div>
          <dt>{text.ends}</dt>
          <dd>{me.expires_at === null ? messages.time.none : <Time value={me.expires_at} />}</dd>
        </div>
      </dl>
      <Button variant="default" size="xs" onClick={signOut}>
        {settings.signOut}
      </Button>
    </div>
  );
}
