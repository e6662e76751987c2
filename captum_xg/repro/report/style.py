"""The looks of the report's page: light and dark, narrow screens, paper."""

STYLE = """
:root { --text: #1b1f24; --soft: #59636e; --back: #ffffff; --card: #f6f8fa; --line: #d1d9e0; --link: #0b5cad;
  --confirmed: #116329; --not-confirmed: #a40e26; --not-comparable: #6b4f00; --not-run: #59636e; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --soft: #9aa6b2; --back: #0f1318; --card: #171d24; --line: #323b45; --link: #6cb6ff;
    --confirmed: #56d37d; --not-confirmed: #ff8f8f; --not-comparable: #e3b341; --not-run: #9aa6b2; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1.2rem 4rem; color: var(--text); background: var(--back);
  font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.6rem 0 0.8rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.6rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 0.5rem; }
p, ul { max-width: 50rem; }
a { color: var(--link); }
.lead { font-size: 1.15rem; font-weight: 600; }
.soft, figcaption, .setting { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; margin: 1rem 0; font-size: 0.92rem; }
.scroll { overflow-x: auto; margin: 0.6rem 0 1.2rem; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.32rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; background: var(--card); }
th:first-child, td:first-child, .texts th, .texts td { text-align: left; }
.texts { width: 100%; }
.texts td { min-width: 7rem; }
.verdict { font-weight: 650; white-space: nowrap; }
.confirmed { color: var(--confirmed); } .not-confirmed { color: var(--not-confirmed); }
.not-comparable { color: var(--not-comparable); } .not-run { color: var(--not-run); }
figure { margin: 1rem 0 1.6rem; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line);
  border-radius: 4px; padding: 0.4rem; }
figcaption { font-size: 0.9rem; max-width: 50rem; margin-top: 0.4rem; }
code { background: var(--card); padding: 0.1rem 0.35rem; border-radius: 4px; font-size: 0.86em;
  overflow-wrap: anywhere; }
@media (max-width: 45rem) { body { padding: 1rem 0.8rem 3rem; } h1 { font-size: 1.35rem; } }
@media print {
  :root { --text: #000; --soft: #333; --back: #fff; --card: #f2f2f2; --line: #bbb; --link: #000;
    --confirmed: #0b4d20; --not-confirmed: #8b0000; --not-comparable: #5a4300; --not-run: #333; }
  body { max-width: none; padding: 0; font-size: 9.5pt; } nav { display: none; } h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; } .scroll { overflow: visible; } table { font-size: 8pt; } thead { display:
  table-header-group; } .texts td { min-width: 0; } }
""".strip()
