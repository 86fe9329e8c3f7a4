//! The ratios as an SVG: a horizontal bar each, with the lines to keep to.

use std::fmt::Write as _;

use super::results::Line;
use super::rows::Unit;

/// Pixels: the width of the picture, the place where bars begin, and the room right of them for
/// figures.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 150.0;
const MARGIN: f64 = 16.0;

/// Pixels downwards: the head, a title, a bar, and from one bar to the next.
const HEAD: f64 = 66.0;
const TITLE: f64 = 28.0;
const BAR: f64 = 11.0;
const STEP: f64 = 17.0;

/// The ratio to which the picture goes at most; longer bars are cut off.
const MOST: f64 = 2.5;

const STYLE: &str = "
text { font: 12px sans-serif; fill: #333 }
.title { font-weight: bold }
.small { font-size: 11px; fill: #666 }
.grid { stroke: #ddd }
.one { stroke: #555; stroke-width: 1.5 }
.met { fill: #6a96bd }
.missed { fill: #d0935c }
.free { fill: #a0a0a0 }
.spread { stroke: #222 }
.target { stroke: #b03060; stroke-width: 2.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd }
  .small { fill: #aaa }
  .grid { stroke: #444 }
  .one { stroke: #ccc }
  .spread { stroke: #eee }
  .target { stroke: #f080a0 }
}
";

/// Draws those of the lines that are ratios; `None` where no line is.
pub fn draw(lines: &[Line]) -> Option<String> {
    let is_ratio = |unit| matches!(unit, Unit::WallRatio | Unit::SizeRatio);
    let ratios: Vec<&Line> = lines
        .iter()
        .filter(|line| is_ratio(line.row.unit))
        .collect();
    let greatest = ratios.iter().map(|line| line.value.greatest);
    let axis = Axis {
        end: (greatest.reduce(f64::max)? * 4.0)
            .ceil()
            .clamp(5.0, MOST * 4.0)
            / 4.0,
    };
    let mut titles: Vec<&str> = Vec::new();
    for line in &ratios {
        if !titles.contains(&line.row.title) {
            titles.push(line.row.title);
        }
    }
    let height = HEAD + TITLE * titles.len() as f64 + STEP * ratios.len() as f64 + MARGIN;
    let mut picture = Picture::new(height);
    picture.head(&axis, height - MARGIN);
    let mut y = HEAD;
    for title in titles {
        y += TITLE;
        picture.text("title", MARGIN, y - 8.0, title);
        for line in ratios.iter().filter(|line| line.row.title == title) {
            picture.bar(&axis, y, line);
            y += STEP;
        }
    }
    Some(picture.finish())
}

/// Ratios from 0 to the end of the picture.
struct Axis {
    end: f64,
}

impl Axis {
    /// Where a ratio is.
    fn x(&self, ratio: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * ratio.min(self.end) / self.end
    }
}

/// An SVG being drawn.
struct Picture(String);

impl Picture {
    fn new(height: f64) -> Self {
        let mut picture = Self(String::new());
        picture.add(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">"#
        ));
        picture.add(format_args!("<style>{STYLE}</style>"));
        picture
    }

    /// What the picture shows, and the lines from top to bottom.
    fn head(&mut self, axis: &Axis, bottom: f64) {
        let says =
            "snap divided by the other: wall time, and size where it says so. Less is better.";
        self.text("title", MARGIN, 22.0, says);
        let marks = "Bar: median, with least and greatest. Red: the target. \
                     Blue keeps to it, orange does not, grey has none.";
        self.text("small", MARGIN, 39.0, marks);
        for quarter in 0..=(axis.end * 4.0) as u32 {
            let ratio = f64::from(quarter) / 4.0;
            let (x, class) = (axis.x(ratio), if quarter == 4 { "one" } else { "grid" });
            self.text("small", x - 10.0, HEAD - 6.0, &format!("{ratio:.2}"));
            self.line(class, x, HEAD, x, bottom);
        }
    }

    fn bar(&mut self, axis: &Axis, y: f64, line: &Line) {
        let class = match line.verdict() {
            "met" => "met",
            "" => "free",
            _ => "missed",
        };
        let (value, start) = (line.value, axis.x(0.0));
        let (width, middle) = (axis.x(value.median) - start, y + BAR / 2.0);
        self.text("small", MARGIN, y + BAR - 1.0, &line.data);
        self.add(format_args!(
            r#"<rect class="{class}" x="{start:.1}" y="{y:.1}" width="{width:.1}" height="{BAR}"/>"#
        ));
        let (least, greatest) = (axis.x(value.least), axis.x(value.greatest));
        self.line("spread", least, middle, greatest, middle);
        if let Some(at_most) = line.row.at_most {
            let x = axis.x(at_most);
            self.line("target", x, y - 2.0, x, y + BAR + 2.0);
        }
        let figures = line.value_text();
        self.text("small", WIDTH - RIGHT + 10.0, y + BAR - 1.0, &figures);
    }

    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#
        ));
    }

    fn line(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
        self.add(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{element}").expect("writing to a string");
    }

    fn finish(mut self) -> String {
        self.add(format_args!("</svg>"));
        self.0
    }
}
