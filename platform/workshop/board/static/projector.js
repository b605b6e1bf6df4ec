// The room's screen: live, and nothing to press but light, dark and full screen.
"use strict";

board.live(() => "/projector/events", () => {}, () => {});

board.byId("whole").addEventListener("click", () => {
  if (document.fullscreenElement) {
    document.exitFullscreen();
  } else {
    document.documentElement.requestFullscreen().catch(() => {});
  }
});
