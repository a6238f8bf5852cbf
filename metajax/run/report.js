"use strict";
// Lets the ways of a film walk: each is drawn up to the step of the slider, its head at the end.
for (const film of document.querySelectorAll(".film")) {
  const [button, slider, output] = film.querySelectorAll("button, input, output");
  const ways = [...film.querySelectorAll("polyline")].map((line) => ({
    line, head: line.nextElementSibling, points: line.getAttribute("points").split(" "),
  }));
  const last = Number(slider.max);
  let timer = null;

  function show() {
    const step = Number(slider.value);
    for (const { line, head, points } of ways) {
      const [x, y] = points[step].split(",");
      line.setAttribute("points", points.slice(0, step + 1).join(" "));
      head.setAttribute("cx", x);
      head.setAttribute("cy", y);
    }
    output.textContent = `step ${step} of ${last}`;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }

  function play() {
    if (Number(slider.value) === last) slider.value = 0;
    button.textContent = "Pause";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) === last) stop();
    }, Math.min(250, 6000 / last));
    show();
  }

  button.addEventListener("click", () => (timer === null ? play() : stop()));
  slider.addEventListener("input", () => { stop(); show(); });
  show();
}
