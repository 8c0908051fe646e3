// The options of an operation as fields: kinds, choices and bounds are those of its JSON Schema.
import { html, useId } from "./lib.js";
import { TEXTS } from "./texts.js";

const T = TEXTS.choice;
const worded = (value) => TEXTS.value[value] ?? String(value);

// A field that is not as it must be is pointed out by the browser, if it can be seen.
const open = (event) => {
  event.currentTarget.open = true;
};

export function OptionFields({ choice, values, schema, set }) {
  const names = Object.keys(values);
  if (!names.length || !schema) return null;
  const summary = names
    .filter((name) => values[name] !== "" && values[name] !== false)
    .map((name) => `${TEXTS.option[name].toLowerCase()}: ${worded(values[name])}`)
    .join(" · ");
  return html`
    <details class="options" key=${choice} onInvalidCapture=${open}>
      <summary>${T.options} <span class="quiet">${summary}</span></summary>
      <div class="fields">
        ${names.map(
          (name) => html`
            <${Field}
              key=${name} name=${name} value=${values[name]} schema=${schema}
              set=${(value) => set({ [name]: value })}
            />
          `,
        )}
      </div>
    </details>
  `;
}

// What a field may be: {choices} of words, {type: "integer"|"boolean"|"string", minimum, maximum}.
function kindOf(said, defs = {}) {
  const parts = [said, ...(said.anyOf ?? [])].map((part) =>
    part.$ref ? (defs[part.$ref.split("/").pop()] ?? {}) : part,
  );
  const choices = parts.flatMap((part) => part.enum ?? (part.const != null ? [part.const] : []));
  if (choices.length) return { choices: [...new Set(choices)] };
  return parts.find((part) => ["integer", "number", "boolean"].includes(part.type)) ?? { type: "string" };
}

function Field({ name, value, schema, set }) {
  const id = useId();
  const kind = kindOf(schema.properties[name] ?? {}, schema.$defs);
  if (kind.type === "boolean") {
    return html`
      <label class="check">
        <input type="checkbox" checked=${value} onChange=${(event) => set(event.target.checked)} />
        ${TEXTS.option[name]}
      </label>
    `;
  }
  return html`
    <div>
      <label for=${id}>${TEXTS.option[name]}</label>
      ${kind.choices
        ? html`
            <select id=${id} onChange=${(event) => set(event.target.value)}>
              ${kind.choices.map(
                (one) => html`<option value=${one} selected=${one === value}>${worded(one)}</option>`,
              )}
            </select>
          `
        : html`
            <input
              id=${id}
              type=${kind.type === "string" ? "text" : "number"}
              min=${kind.minimum} max=${kind.maximum} value=${value} placeholder=${worded("")}
              onInput=${(event) => set(valueOf(event.target))}
            />
          `}
    </div>
  `;
}

function valueOf(field) {
  if (field.type !== "number") return field.value;
  return field.value === "" ? "" : field.valueAsNumber;
}
