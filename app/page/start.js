// The upper half of the first page: what to work on, and what shall become of it.
import { batches } from "./batches.js";
import { CHOICES, fitting, told } from "./choices.js";
import { bytes } from "./format.js";
import { filesIn, linksIn, ofFile } from "./inputs.js";
import { html, useEffect, useId, useRef, useState } from "./lib.js";
import { OptionFields } from "./options.js";
import { Icon, say } from "./parts.js";
import { TEXTS } from "./texts.js";

const SHOWN = 12;
const T = TEXTS.drop;

export function Start({ operations, limits }) {
  const [inputs, setInputs] = useState([]);
  const [chosen, setChosen] = useState(null); // null: what fits
  const [options, setOptions] = useState({});
  const choice = chosen ?? fitting(inputs);
  const values = { ...CHOICES[choice].defaults, ...options[choice] };

  const add = (more) => {
    if (!more.length) return;
    setInputs((before) => [...before, ...more]);
    say(T.added(more.length));
  };
  const start = () => {
    const schema = operations?.find((one) => one.name === choice)?.params;
    const most = limits?.upload_max_bytes ?? Infinity;
    for (const one of inputs) {
      if (one.file?.size > most) one.trouble = new Error(TEXTS.errors.tooLarge(one.file.size, most));
    }
    batches.start({ choice, options: told(choice, values, schema), inputs });
    setInputs([]);
    setChosen(null);
  };
  return html`
    <section class="start" aria-labelledby="title">
      <h1 id="title" tabindex="-1">${T.title}</h1>
      <p class="lead">${T.lead}</p>
      <${Drop} add=${add} limits=${limits} small=${inputs.length > 0} />
      ${inputs.length > 0 &&
      html`
        <${Chosen} inputs=${inputs} set=${setInputs} />
        <form
          class="choose"
          onSubmit=${(event) => {
            event.preventDefault();
            start();
          }}
        >
          <${Choices} choice=${choice} inputs=${inputs} choose=${setChosen} />
          <${OptionFields}
            choice=${choice}
            values=${values}
            schema=${operations?.find((one) => one.name === choice)?.params}
            set=${(more) => setOptions({ ...options, [choice]: { ...options[choice], ...more } })}
          />
          <button class="primary" type="submit">${TEXTS.choice.start(inputs.length)}</button>
        </form>
      `}
    </section>
  `;
}

function Drop({ add, limits, small }) {
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
  // The whole window takes what is dropped or pasted: nobody aims.
  useEffect(() => {
    const on = {
      dragover: (event) => {
        event.preventDefault();
        setOver(true);
      },
      dragleave: (event) => event.relatedTarget ?? setOver(false),
      drop: (event) => {
        event.preventDefault();
        setOver(false);
        tried(async () => {
          const links = event.dataTransfer.getData("text/uri-list");
          const files = await filesIn(event.dataTransfer);
          return files.length || !links ? files : linksIn(links);
        });
      },
      paste: (event) => {
        if (event.target.closest?.("input, textarea")) return;
        tried(async () => {
          const files = await filesIn(event.clipboardData);
          return files.length ? files : linksIn(event.clipboardData.getData("text/plain"));
        });
      },
    };
    for (const [name, listener] of Object.entries(on)) window.addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(on)) window.removeEventListener(name, listener);
    };
  }, []);
  const picked = (event) => {
    add([...event.target.files].map(ofFile));
    event.target.value = "";
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
      <${Links} add=${(text) => tried(async () => linksIn(text))} />
      ${limits && !small && html`<p class="quiet">${T.limit(limits.upload_max_bytes)}</p>`}
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
      onSubmit=${async (event) => {
        event.preventDefault();
        await add(text);
        setText("");
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

function Chosen({ inputs, set }) {
  const size = inputs.reduce((sum, one) => sum + (one.file?.size ?? 0), 0);
  return html`
    <div class="chosen">
      <p>
        ${T.chosen(inputs.length, size)}
        <button type="button" class="plain" onClick=${() => set([])}>${T.clear}</button>
      </p>
      <ul>
        ${inputs.slice(0, SHOWN).map(
          (one) => html`
            <li key=${one.id}>
              <span class="name">${one.name}</span>
              <span class="quiet">${one.file ? bytes(one.file.size) : T.link}</span>
              <button
                type="button" class="icon" aria-label=${T.remove(one.name)}
                onClick=${() => set(inputs.filter((other) => other !== one))}
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
