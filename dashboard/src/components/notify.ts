import { notifications } from "@mantine/notifications";
import { isProblem } from "../api/problem";

/** Says that something the person asked for is done. */
export function notifyDone(message: string): void {
  notifications.show({ message, color: "teal" });
}

/** Says that something the person asked for failed, and why. It stays until the person closes it. */
export function notifyFailed(title: string, error: unknown): void {
  const message = isProblem(error) ? error.detail : String(error);
  notifications.show({ title, message, color: "red", autoClose: false });
}
