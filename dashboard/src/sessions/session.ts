import { createContext, useContext } from "react";
import type { Me, Role } from "../api/client";

export interface Session {
  me: Me;
  signOut: () => void;
}

export const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const value = useContext(SessionContext);
  if (value === null) throw new Error("SessionGate is missing");
  return value;
}

const RANKS: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** Whether the caller has this role or a higher one. */
export function useCan(role: Role): boolean {
  return RANKS[useSession().me.role] >= RANKS[role];
}
