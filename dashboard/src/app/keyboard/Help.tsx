import { Kbd, Modal, Switch, Table } from "@mantine/core";
import { useMessages } from "../../i18n";
import { switchShortcuts, useShortcutsAreOn } from "./shortcuts";

/** All keys, and the switch for single keys. */
export function Help({ onClose }: { onClose: () => void }) {
  const { keyboard: text, form } = useMessages();
  const on = useShortcutsAreOn();
  const keys: [string, string][] = [
    ["Ctrl K", text.openPalette],
    ["/", text.search],
    ["j", text.nextRow],
    ["k", text.previousRow],
    ["Enter", text.openRow],
    ["t", text.triggerRow],
    ["x", text.selectRow],
    ["?", text.help],
    ["Esc", text.closeDialog],
  ];
  return (
    <Modal opened onClose={onClose} title={text.help} centered closeButtonProps={{ "aria-label": form.close }}>
      <Table>
        <Table.Tbody>
          {keys.map(([key, meaning]) => (
            <Table.Tr key={key}>
              <Table.Th scope="row" w={110}>
                <Kbd>{key}</Kbd>
              </Table.Th>
              <Table.Td>{meaning}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Switch
        mt="md"
        checked={on}
        onChange={(event) => switchShortcuts(event.currentTarget.checked)}
        label={text.singleKeys}
        description={text.singleKeysHint}
      />
    </Modal>
  );
}
