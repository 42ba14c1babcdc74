import { Button, Divider, Group, Popover, SegmentedControl, Stack, Text, useMantineColorScheme } from "@mantine/core";
import { IconSettings } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { type Language, useLanguage } from "../i18n";
import { useSession } from "../sessions/session";
import { type TimeStyle, useTimeStyle } from "./time";

function Choice({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div>
      <Text size="xs" c="dimmed" mb={4}>
        {label}
      </Text>
      {children}
    </div>
  );
}

/** Theme, language, the style of times, and who is signed in. The button always shows the time zone in use. */
export function SettingsMenu() {
  const { language, messages, setLanguage } = useLanguage();
  const { style, setStyle } = useTimeStyle();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const { me, signOut } = useSession();
  const { settings } = messages;
  return (
    <Popover position="bottom-end" width={300} shadow="md" trapFocus returnFocus>
      <Popover.Target>
        <Button
          variant="default"
          size="xs"
          leftSection={<IconSettings size={16} stroke={1.7} aria-hidden />}
          aria-label={settings.title}
        >
          {settings[style]}
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label={settings.title}>
        <Stack gap="sm">
          <Choice label={settings.times}>
            <SegmentedControl
              fullWidth
              size="xs"
              aria-label={settings.times}
              value={style}
              onChange={(value) => setStyle(value as TimeStyle)}
              data={(["utc", "local", "relative"] as const).map((value) => ({ value, label: settings[value] }))}
            />
          </Choice>
          <Choice label={settings.theme}>
            <SegmentedControl
              fullWidth
              size="xs"
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
              fullWidth
              size="xs"
              aria-label={settings.language}
              value={language}
              onChange={(value) => setLanguage(value as Language)}
              data={[
                { value: "en", label: "English" },
                { value: "it", label: "Italiano" },
              ]}
            />
          </Choice>
          <Divider />
          <Group justify="space-between" wrap="nowrap">
            <div>
              <Text size="sm">{settings.signedInAs(me.name)}</Text>
              <Text size="xs" c="dimmed">
                {settings.role[me.role]}
              </Text>
            </div>
            <Button variant="default" size="xs" onClick={signOut}>
              {settings.signOut}
            </Button>
          </Group>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
