// The page works without this: it only keeps a text that was clicked readable after the focus has gone elsewhere.
document.addEventListener("click", (event) => {
  const veil = event.target.closest(".veil");
  if (veil) veil.classList.add("open");
});
