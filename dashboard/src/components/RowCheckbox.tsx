import classes from "./RowCheckbox.module.css";

interface Props {
  label: string;
  checked: boolean;
  onChange: () => void;
}

/** A checkbox that looks like the others, but without their several elements: a list has one per row. */
export function RowCheckbox({ label, checked, onChange }: Props) {
  return <input type="checkbox" className={classes.box} aria-label={label} checked={checked} onChange={onChange} />;
}
