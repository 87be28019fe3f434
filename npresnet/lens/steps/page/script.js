"use strict";
(() => {
  const { steps, formulas, pictures } = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const slider = $("slider");
  const places = new Map(steps.map((step, place) => [step.number, place]));
  let here = 0;
  let playing = null;

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const frame = (one) => {
    const figure = element("figure");
    const caption = element("figcaption");
    const [letter, ...rest] = one.name.split(", ");
    caption.append(element("b", "", letter), ` ${rest.join(", ")} `);
    if (one.picture === undefined) {
      figure.append(element("div", "number", one.value), caption);
      return figure;
    }
    const picture = pictures[one.picture];
    const image = element("img");
    image.src = picture.uri;
    image.width = picture.width;
    image.height = picture.height;
    image.alt = `${one.name}: ${picture.note}`;
    image.title = picture.note;
    const scale = element("div", picture.signed ? "scale signed" : "scale");
    const ends = picture.signed ? [`−${picture.largest}`, `+${picture.largest}`] : ["0", picture.largest];
    scale.append(ends[0], element("i"), ends[1]);
    caption.append(element("br"), element("span", "", `${one.shape}, norm ${one.norm}`));
    figure.append(image, scale, caption);
    return figure;
  };

  const fill = (id, frames, between) => {
    const box = $(id);
    box.replaceChildren();
    frames.forEach((one, number) => {
      if (number && between) box.append(element("span", "plus", between));
      box.append(frame(one));
    });
  };

  const formula = (list, name, place, figures, main) => {
    const term = element("dt", "", name);
    if (figures) term.append(element("span", "figures", figures));
    list.append(term);
    if (place === null) return;
    const value = element("dd", main ? "main" : "");
    value.innerHTML = formulas[place];
    list.append(value);
  };

  // Diagrams are wider than a small window.
  const bringIntoView = () => {
    for (const mark of document.querySelectorAll(".diagram:not([hidden]) .node.here, .cursor")) {
      const box = mark.closest(".scroll").getBoundingClientRect();
      const from = mark.getBoundingClientRect();
      mark.closest(".scroll").scrollLeft += from.left + from.width / 2 - box.left - box.width / 2;
    }
  };

  const show = (place) => {
    here = Math.max(0, Math.min(steps.length - 1, place));
    const step = steps[here];
    slider.value = here;
    slider.setAttribute("aria-valuetext", `step ${step.number}: ${step.path}, ${step.title}`);
    $("count").textContent = `step ${here + 1} of ${steps.length}`;
    $("jump").value = step.number;
    $("previous").disabled = here === 0;
    $("next").disabled = here === steps.length - 1;

    for (const node of document.querySelectorAll("[data-step]")) {
      const number = Number(node.dataset.step);
      node.classList.toggle("here", number === step.number);
      node.classList.toggle("later", number > step.number);
    }
    for (const line of document.querySelectorAll("[data-after]")) {
      line.classList.toggle("later", Number(line.dataset.after) >= step.number);
    }
    const bar = document.querySelector(`.bar[data-step="${step.number}"]`);
    const cursor = document.querySelector(".cursor");
    const room = 1000 / steps.length;
    cursor.setAttribute("x", here * room);
    cursor.setAttribute("width", room);
    if (bar) bar.classList.remove("later");
    document.querySelectorAll(".diagram").forEach((box, number) => {
      box.hidden = number !== step.unit;
    });
    bringIntoView();

    $("path").textContent = step.path;
    $("where").textContent = step.where;
    $("where").className = `badge ${step.way}`;
    $("title").textContent = step.title;
    $("words").textContent = step.words;
    $("remark").textContent = step.remark && `Here: ${step.remark}.`;
    $("code").textContent = step.code;
    $("cost").textContent = `backward in ${step.seconds}; the forward pass kept ${step.memory} for it`;
    const list = $("formulas");
    list.replaceChildren();
    formula(list, "handed on", step.backward, "", true);
    for (const one of step.parameters) {
      formula(list, `gradient of the ${one.name}`, one.formula, `${one.shape}, norm ${one.norm}`);
    }
    formula(list, "forward", step.forward);
    fill("output", step.frames.output, "");
    fill("input", step.frames.input, "+");
    fill("incoming", step.frames.incoming, "+");
    fill("outgoing", step.frames.outgoing, "");
  };

  const stop = () => {
    clearInterval(playing);
    playing = null;
    $("play").textContent = "Play";
    $("play").setAttribute("aria-pressed", "false");
  };
  const go = (place) => { stop(); show(place); };
  const play = () => {
    if (playing !== null) { stop(); return; }
    if (here === steps.length - 1) show(0);
    $("play").textContent = "Pause";
    $("play").setAttribute("aria-pressed", "true");
    playing = setInterval(() => {
      if (here === steps.length - 1) stop(); else show(here + 1);
    }, 900);
  };
  // The first step of the unit before or after this one.
  const unit = (direction) => {
    const name = steps[here].unit;
    let place = here;
    while (steps[place] && steps[place].unit === name) place += direction;
    if (!steps[place]) return direction < 0 ? 0 : steps.length - 1;
    const found = steps[place].unit;
    while (steps[place - 1] && steps[place - 1].unit === found) place -= 1;
    return place;
  };

  slider.max = steps.length - 1;
  slider.addEventListener("input", () => go(Number(slider.value)));
  $("previous").addEventListener("click", () => go(here - 1));
  $("next").addEventListener("click", () => go(here + 1));
  $("play").addEventListener("click", play);
  $("jump").addEventListener("change", (event) => go(places.get(Number(event.target.value))));
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-step], [data-first]");
    if (target) go(places.get(Number(target.dataset.step || target.dataset.first)));
  });
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT") return;
    const keys = {
      ArrowRight: () => go(here + 1),
      ArrowLeft: () => go(here - 1),
      ArrowDown: () => go(unit(1)),
      ArrowUp: () => go(unit(-1)),
      Home: () => go(0),
      End: () => go(steps.length - 1),
      p: play,
    };
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault(); // the slider would move as well
    action();
  });

  addEventListener("resize", bringIntoView);

  const wanted = places.get(Number(location.hash.slice(1)));
  show(wanted === undefined ? 0 : wanted);
})();
