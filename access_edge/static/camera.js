// The camera: opened, watched, and opened again when it went away. What is wrong has a name that the page has words for.
"use strict";

const SIDE = 960;
const WANTED = { audio: false, video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } } };
const TROUBLES = {
  NotAllowedError: "camera-refused", SecurityError: "camera-refused", NotFoundError: "camera-missing",
  NotReadableError: "camera-busy", AbortError: "camera-busy",
};

export class Camera {
  constructor(video) {
    this.video = video;
    this.canvas = document.createElement("canvas");
    this.track = null;
    this.trouble = "";
  }

  get ready() {
    return this.track !== null && this.track.readyState === "live" && this.video.videoWidth > 0;
  }

  // Opens it; afterwards `trouble` says what is wrong, if anything.
  async open() {
    this.close();
    if (!navigator.mediaDevices) {
      this.trouble = "camera-insecure";
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia(WANTED);
      this.track = stream.getVideoTracks()[0];
      this.track.addEventListener("ended", () => this.lost());
      this.video.srcObject = stream;
      await this.video.play();
      this.trouble = "";
    } catch (error) {
      const lost = this.trouble === "camera-lost" && error.name === "NotFoundError";
      this.close();
      this.trouble = lost ? "camera-lost" : TROUBLES[error.name] || "camera-busy";
    }
  }

  lost() {
    this.close();
    this.trouble = "camera-lost";
  }

  close() {
    if (this.track) this.track.stop();
    this.track = null;
    this.video.srcObject = null;
  }

  // One picture as JPEG, as the camera sees it (the preview is a mirror, the picture is not); null where there is none.
  frame(side = SIDE) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, side / Math.max(videoWidth, videoHeight));
    this.canvas.width = Math.round(videoWidth * scale);
    this.canvas.height = Math.round(videoHeight * scale);
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    return new Promise((resolve) => { this.canvas.toBlob(resolve, "image/jpeg", 0.85); });
  }
}
