// The upper half of the first page: what to work on, and what shall become of it.
import { batches } from "./batches.js";
import { CHOICES, fitting, told } from "./choices.js";
import { bytes } from "./format.js";
import { filesIn, isGiven, linksIn, ofFile } from "./inputs.js";
import { focusOn, html, Source, useEffect, useId, useRef, useSource, useState } from "./lib.js";
import { OptionFields } from "./options.js";
import { Icon, say } from "./parts.js";
import { TEXTS } from "./texts.js";

const SHOWN = 12;
const T = TEXTS.drop;

// What was given and chosen is there yet when somebody comes back from another view.
class Draft extends Source {
  inputs = [];
  chosen = null; // what fits
  options = {};

  set(values) {
    Object.assign(this, values);
    this.changed();
  }
}

const draft = new Draft();
const toChoose = () => document.querySelector(".drop button");

export function Start({ operations, limits }) {
  const { inputs, chosen, options } = useSource(draft);
  const choice = chosen ?? fitting(inputs);
  const values = { ...CHOICES[choice].defaults, ...options[choice] };
  const schema = operations?.find((one) => one.name === choice)?.params;
  const mostItems = limits?.job_max_items ?? Infinity;

  const add = (more) => {
    const { inputs: before } = draft;
    if (before.length + more.length > mostItems)
      throw new Error(TEXTS.errors.tooMany(more.length, mostItems));
    if (more.length) say(T.added(more.length));
    draft.set({ inputs: [...before, ...more] });
  };
  const start = () => {
    const most = limits?.upload_max_bytes ?? Infinity;
    for (const one of inputs) {
      if (one.file?.size > most) one.trouble = new Error(TEXTS.errors.tooLarge(one.file.size, most));
    }
    batches.start({ choice, options: told(choice, values, schema), inputs }, { isNew: true });
    draft.set({ inputs: [], chosen: null });
  };
  return html`
    <section class="start" aria-labelledby="title">
      <h1 id="title" tabindex="-1">${T.title}</h1>
      <p class="lead">${T.lead}</p>
      <${Drop} add=${add} limits=${limits} most=${mostItems} small=${inputs.length > 0} />
      ${inputs.length > 0 &&
      html`
        <${Chosen} inputs=${inputs} />
        <form
          class="choose"
          onSubmit=${(event) => {
            event.preventDefault();
            start();
          }}
        >
          <${Choices} choice=${choice} inputs=${inputs} choose=${(name) => draft.set({ chosen: name })} />
          <${OptionFields}
            choice=${choice}
            values=${values}
            schema=${schema}
            set=${(more) => draft.set({ options: { ...options, [choice]: { ...options[choice], ...more } } })}
          />
          <button class="primary" type="submit">${TEXTS.choice.start(inputs.length)}</button>
        </form>
      `}
    </section>
  `;
}

function Drop({ add, limits, most, small }) {
  const [over, setOver] = useState(false);
  const [trouble, setTrouble] = useState("");
  const picker = useRef(null);

  const tried = async (work) => {
    try {
      setTrouble("");
      add(await work());
    } catch (error) {
      setTrouble(error instanceof DOMException ? TEXTS.errors.unreadable : error.message);
    }
  };
  // Gives what of the text is no link.
  const addLinks = (text) => {
    const { links, wrong } = linksIn(text);
    try {
      add(links);
      setTrouble(wrong.length ? TEXTS.errors.url(wrong[0].slice(0, 80), wrong.length - 1) : "");
      return wrong.join("\n");
    } catch (error) {
      setTrouble(error.message);
      return text;
    }
  };
  const take = (transfer, type) => {
    const files = filesIn(transfer, most);
    if (files) return tried(() => files);
    const said = transfer.getData(type).split("\n").filter((line) => !line.startsWith("#"));
    if (said.join("").trim()) addLinks(said.join("\n"));
  };
  // The whole window takes what is dropped or pasted: nobody aims.
  useEffect(() => {
    const on = {
      dragover: (event) => setOver(isGiven(event.dataTransfer)),
      dragleave: (event) => event.relatedTarget ?? setOver(false),
      drop: (event) => {
        setOver(false);
        if (isGiven(event.dataTransfer)) take(event.dataTransfer, "text/uri-list");
      },
      paste: (event) => {
        if (!event.target.closest?.("input, textarea, dialog")) take(event.clipboardData, "text/plain");
      },
    };
    for (const [name, listener] of Object.entries(on)) window.addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(on)) window.removeEventListener(name, listener);
    };
  }, [add]);
  const picked = (event) => {
    const files = [...event.target.files].map((file) => ofFile(file));
    event.target.value = "";
    tried(() => files);
  };
  return html`
    <div class="drop ${small ? "small" : ""} ${over ? "over" : ""}">
      <${Icon} name="drop" />
      <p class="drop-here">${over ? T.now : T.here}</p>
      <input
        ref=${picker} type="file" multiple hidden data-test="files" onChange=${picked}
        aria-label=${T.choose}
      />
      <button type="button" onClick=${() => picker.current.click()}>${T.choose}</button>
      <${Links} add=${addLinks} />
      ${limits && !small && html`<p class="quiet">${T.limit(limits.upload_max_bytes, 1000 * limits.job_retention_s)}</p>`}
    </div>
    ${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
  `;
}

function Links({ add }) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState("");
  const id = useId();
  const field = useRef(null);
  useEffect(() => field.current?.focus(), [open]);
  if (!open) {
    return html`<button type="button" class="plain" onClick=${() => setOpen(true)}>${T.or}</button>`;
  }
  return html`
    <form
      class="links"
      onSubmit=${(event) => {
        event.preventDefault();
        setText(add(text));
        field.current.focus();
      }}
    >
      <label for=${id}>${T.links}</label>
      <textarea
        id=${id} rows="3" value=${text} placeholder=${T.placeholder} spellcheck=${false}
        ref=${field}
        onInput=${(event) => setText(event.target.value)}
      ></textarea>
      <button type="submit" disabled=${!text.trim()}>${T.linksAdd}</button>
    </form>
  `;
}

function Chosen({ inputs }) {
  const size = inputs.reduce((sum, one) => sum + (one.file?.size ?? 0), 0);
  const list = useRef(null);
  const remove = (one, at) => {
    draft.set({ inputs: inputs.filter((other) => other !== one) });
    const left = () => [...(list.current?.querySelectorAll("button") ?? [])];
    focusOn(() => left()[at] ?? left().at(-1) ?? toChoose());
  };
  const clear = () => {
    draft.set({ inputs: [], chosen: null });
    focusOn(toChoose);
  };
  return html`
    <div class="chosen">
      <p>
        ${T.chosen(inputs.length, size)}
        <button type="button" class="plain" onClick=${clear}>${T.clear}</button>
      </p>
      <ul ref=${list}>
        ${inputs.slice(0, SHOWN).map(
          (one, at) => html`
            <li key=${one.id}>
              <bdi class="name" title=${one.name}>${one.name}</bdi>
              <span class="quiet">${one.file ? bytes(one.file.size) : T.link}</span>
              <button
                type="button" class="icon" aria-label=${T.remove(one.name)}
                onClick=${() => remove(one, at)}
              ><${Icon} name="close" /></button>
            </li>
          `,
        )}
        ${inputs.length > SHOWN && html`<li class="quiet">${T.more(inputs.length - SHOWN)}</li>`}
      </ul>
    </div>
  `;
}

function Choices({ choice, inputs, choose }) {
  const files = inputs.some((one) => one.file);
  const offered = Object.keys(CHOICES).filter((name) => !(CHOICES[name].onlyLinks && files));
  return html`
    <fieldset class="choices">
      <legend>${TEXTS.choice.title}</legend>
      ${offered.map((name) => {
        const [title, said] = TEXTS.choice[name];
        return html`
          <label key=${name} class=${name === choice ? "chosen-one" : ""}>
            <input
              type="radio" name="choice" value=${name} checked=${name === choice}
              onChange=${() => choose(name)}
            />
            <${Icon} name=${name} />
            <span><strong>${title}</strong><small>${said}</small></span>
          </label>
        `;
      })}
    </fieldset>
  `;
}
