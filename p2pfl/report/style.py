"""The page's own rules: system fonts, two palettes, one column on a phone and two on a desk."""

from typing import Final

CSS: Final = """
:root{color-scheme:light dark;
--paper:#f6f7f9;--card:#fff;--ink:#1b2733;--muted:#5b6875;--grid:#dfe4ea;--good:#1a7a4c;
--c0:#2a6f97;--c1:#e07a3f;--c2:#4c956c;--c3:#8b5cc7;--c4:#c1496b;--c5:#b8901a;--c6:#5f6c7b;--c7:#2f9e9e;--c8:#7a5230}
@media (prefers-color-scheme:dark){:root{
--paper:#11161c;--card:#1a2129;--ink:#e8edf2;--muted:#9aa8b6;--grid:#303a45;--good:#5fc795;
--c0:#5fa8d3;--c1:#f09a63;--c2:#74c094;--c3:#b794e8;--c4:#e87a9a;--c5:#dfbb4b;--c6:#9aa8b6;--c7:#5cc9c5;--c8:#c19a6b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:36px 0 12px}
h3{font-size:1rem;margin:0 0 4px}
p{margin:0 0 10px}
.lead,.note,figcaption,.legend{color:var(--muted)}
.lead{overflow-wrap:anywhere}
.note{font-size:.88rem;margin:6px 0 0}
.card,figure,details{background:var(--card);border:1px solid var(--grid);border-radius:12px}
.tiles{display:grid;gap:12px;margin:20px 0 0;
grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
.tile{padding:14px 16px}
.tile b{display:block;font-size:1.55rem;line-height:1.2;font-variant-numeric:tabular-nums}
.tile span{color:var(--muted);font-size:.88rem}
.charts{columns:2;column-gap:16px;margin:0 0 16px}
@media (max-width:780px){.charts{columns:1}main{padding:20px 12px 40px}
h1{font-size:1.5rem}}
figure{margin:0 0 16px;padding:16px 16px 14px;break-inside:avoid}
figure svg{display:block;width:100%;height:auto;margin:4px 0}
figure svg *{stroke-linejoin:round}
figure svg text{font-family:inherit!important}
figure.graph svg{max-width:420px;margin:0 auto}
figcaption{font-size:.9rem;line-height:1.45}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:.85rem;margin:2px 0 0}
.legend i{display:inline-block;width:.75em;height:.75em;border-radius:50%;margin-right:.4em}
.scroll{overflow-x:auto;padding:4px 8px;margin:0 0 12px;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:7px 10px;text-align:right;white-space:nowrap}
th{color:var(--muted);font-weight:600;font-size:.84rem;line-height:1.25;vertical-align:bottom}
td:first-child,th:first-child{text-align:left}
tbody tr{border-top:1px solid var(--grid)}
td.best{color:var(--good);font-weight:700}
details{margin:12px 0 0;padding:10px 16px}
summary{cursor:pointer;font-weight:600}
pre{overflow-x:auto;font:.82rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
margin:10px 0 4px}
ul{margin:6px 0;padding-left:1.2em}
footer{color:var(--muted);font-size:.85rem;margin-top:32px}
@media print{body{background:#fff}figure,.card{break-inside:avoid}}
"""
