export function ConfigsPage() {
  return null;
}
