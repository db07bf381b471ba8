// What scrolls sideways must be reachable by the keyboard; the theme puts tables into such boxes.
document$.subscribe(() => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap")) box.tabIndex = 0;
});
