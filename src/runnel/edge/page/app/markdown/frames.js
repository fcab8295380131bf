/**
 * When text is made into elements: in animation frames, all texts of the page within one budget, so
 * that no frame is late. A hidden page has no frames: there a timer does it.
 */

/**
 * @typedef {object} Job
 * @property {(until: number) => boolean} work goes on until the time; is there more to do?
 */

const BUDGET_MS = 8;
/** Nobody sees a hidden page stutter, and its timers are rare. */
const HIDDEN_BUDGET_MS = 40;
/** Long enough that a visible page's frame comes first. */
const WITHOUT_FRAMES_MS = 250;

/** @type {Set<Job>} */
const jobs = new Set();
let frame = 0;
let timer = 0;

/** Lets a job work soon, once however often it is called before. @param {Job} job */
export function soon(job) {
  jobs.add(job);
  ask();
}

function ask() {
  if (timer) return;
  frame = requestAnimationFrame(work);
  timer = window.setTimeout(work, WITHOUT_FRAMES_MS);
}

function work() {
  cancelAnimationFrame(frame);
  clearTimeout(timer);
  timer = 0;
  const until = performance.now() + (document.hidden ? HIDDEN_BUDGET_MS : BUDGET_MS);
  for (const job of jobs) {
    jobs.delete(job);
    try {
      if (job.work(until)) jobs.add(job);
    } catch (error) {
      reportError(error);
    }
    if (performance.now() >= until) break;
  }
  if (jobs.size) ask();
}
