// What scrolls sideways must be reachable by the keyboard; the theme puts tables into such boxes.
document$.subscribe(() => {
  const boxes = ".md-typeset__scrollwrap, p:has(> img.panels)";
  for (const box of document.querySelectorAll(boxes)) box.tabIndex = 0;
});
