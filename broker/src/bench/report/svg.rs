//! Plots as inline SVG. Colours come from the page's style: `.s0` is the first side, `.s1` the second.

use std::fmt::Write as _;

use super::html::escape;
use crate::bench::format::seconds;

const WIDTH: f64 = 640.0;
const BAR: f64 = 20.0;
const BAR_STEP: f64 = 44.0;
const PLOT: f64 = 220.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 30.0;

/// A bar with the ends of its runs.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// Which side.
    pub side: usize,
    /// What stands above it.
    pub label: String,
    /// Median, lowest and highest.
    pub values: [f64; 3],
}

/// Horizontal bars on one scale.
pub(super) fn bars(bars: &[Bar]) -> String {
    let top = bars.iter().map(|bar| bar.values[2]).fold(0.0, f64::max);
    let height = BAR_STEP * bars.len() as f64;
    let mut svg = open(height);
    for (number, bar) in bars.iter().enumerate() {
        let y = BAR_STEP * number as f64;
        let scale = |value: f64| if top > 0.0 { value / top * WIDTH } else { 0.0 };
        let [median, min, max] = bar.values.map(scale);
        let (side, label) = (bar.side, escape(&bar.label));
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{:.1}\">{label}</text>\
             <rect class=\"s{side}\" x=\"0\" y=\"{:.1}\" width=\"{median:.1}\" height=\"{BAR}\"/>\
             <line class=\"band\" x1=\"{min:.1}\" x2=\"{max:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
            y + 14.0,
            y + 19.0,
            y + 29.0,
            y + 29.0,
        );
    }
    svg + "</svg>"
}

/// A line of (percent of the messages, seconds).
#[derive(Clone, Debug)]
pub(super) struct Curve<'a> {
    /// Which side.
    pub side: usize,
    /// Its name.
    pub label: String,
    /// From the lowest percentage to the highest.
    pub points: &'a [(f64, f64)],
}

/// Latency by percentile: each further nine is as wide as the one before, times are logarithmic.
pub(super) fn curves(curves: &[Curve<'_>]) -> String {
    let times = || {
        curves
            .iter()
            .flat_map(|curve| curve.points.iter().map(|(_, time)| *time))
    };
    let low = times().fold(f64::MAX, f64::min).max(1e-9).log10().floor();
    let high = times().fold(1e-9, f64::max).log10().ceil().max(low + 1.0);
    let y = |time: f64| PLOT - (time.max(1e-9).log10() - low) / (high - low) * PLOT;
    let legend = 18.0 * curves.len() as f64;
    let mut svg = open(PLOT + BOTTOM + legend);
    let mut decade = low;
    while decade <= high {
        let (time, at) = (10_f64.powf(decade), y(10_f64.powf(decade)));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"0\" y=\"{:.1}\">{}</text>",
            at.max(12.0),
            seconds(time)
        );
        decade += 1.0;
    }
    for percent in [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999] {
        let x = percent_x(percent);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{PLOT}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\">{percent}%</text>",
            PLOT + 16.0
        );
    }
    for (number, curve) in curves.iter().enumerate() {
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|(percent, time)| format!("{:.1},{:.1}", percent_x(*percent), y(*time)))
            .collect();
        let (side, label) = (curve.side, escape(&curve.label));
        let at = PLOT + BOTTOM + 18.0 * number as f64;
        let _ = write!(
            svg,
            "<polyline class=\"l{side}\" points=\"{}\"/>\
             <rect class=\"s{side}\" x=\"{LEFT}\" y=\"{at:.1}\" width=\"12\" height=\"12\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            points.join(" "),
            LEFT + 18.0,
            at + 11.0
        );
    }
    svg + "</svg>"
}

/// From 0 to 99.999 % in five nines, all of them at the end.
fn percent_x(percent: f64) -> f64 {
    const NINES: f64 = 5.2;
    let nines = (100.0 / (100.0 - percent)).log10().min(NINES);
    LEFT + nines / NINES * (WIDTH - LEFT)
}

fn open(height: f64) -> String {
    let (width, height) = (WIDTH + 40.0, height + 4.0);
    format!("<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">")
}
