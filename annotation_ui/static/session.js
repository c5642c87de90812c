// What was done in this tab, also over a reload.
export class SessionCounts {
  constructor(project) {
    this.key = `newfound.session.${project}`;
    const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
    Object.assign(this, { labelled: 0, fresh: 0, skipped: 0, ...kept });
  }

  // One answer more (step 1) or taken back (step −1).
  add(verdict, step) {
    const name = verdict === "SKIP" ? "skipped" : "labelled";
    this[name] = Math.max(0, this[name] + step);
    if (verdict === "NEW") this.fresh = Math.max(0, this.fresh + step);
    const { labelled, fresh, skipped } = this;
    sessionStorage.setItem(this.key, JSON.stringify({ labelled, fresh, skipped }));
  }
}
