import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { en, type Messages } from "./en";
import { it } from "./it";

export type Language = "en" | "it";
const KEY = "candlekeep-language";
const MESSAGES: Record<Language, Messages> = { en, it };

/** The language that the person chose, otherwise the first of the browser's languages that exists here. */
function initialLanguage(): Language {
  const chosen = localStorage.getItem(KEY);
  if (chosen === "en" || chosen === "it") return chosen;
  const preferred = navigator.languages.map((each) => each.slice(0, 2)).find((each) => each === "en" || each === "it");
  return preferred === "it" ? "it" : "en";
}

interface LanguageValue {
  language: Language;
  messages: Messages;
  setLanguage: (language: Language) => void;
}

const LanguageContext = createContext<LanguageValue | null>(null);

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(initialLanguage);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const value = useMemo(
    () => ({
      language,
      messages: MESSAGES[language],
      setLanguage(next: Language) {
        localStorage.setItem(KEY, next);
        setLanguage(next);
      },
    }),
    [language],
  );
  return <LanguageContext value={value}>{children}</LanguageContext>;
}

export function useLanguage(): LanguageValue {
  const value = useContext(LanguageContext);
  if (value === null) throw new Error("LanguageProvider is missing");
  return value;
}

export function useMessages(): Messages {
  return useLanguage().messages;
}

type Numbers = ReturnType<typeof numbersOf>;

const known = new Map<Language, Numbers>();

/** Numbers in the person's language. */
export function useNumbers(): Numbers {
  const { language } = useLanguage();
  const numbers = known.get(language) ?? numbersOf(language);
  known.set(language, numbers);
  return numbers;
}

/** Making the formats takes longer than to render a row, so they are made once per language. */
function numbersOf(language: Language) {
  const whole = new Intl.NumberFormat(language);
  const compact = new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 });
  const short = new Intl.NumberFormat(language, { maximumSignificantDigits: 2 });
  const price = new Intl.NumberFormat(language, { maximumSignificantDigits: 12 });
  const percent = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return {
    whole: (value: number) => whole.format(value),
    compact: (value: number) => compact.format(value),
    short: (value: number) => short.format(value),
    /** A price with all of its digits. */
    price: (value: number) => price.format(value),
    percent: (value: number) => `${percent.format(value)} %`,
  };
}
