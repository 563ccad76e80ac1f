/**
 * How things look on the map. Everything that is well is a quiet grey; only an alarm has a colour,
 * and each state of it the same shape as in the queue.
 */
import type { AlarmMark, Mark, Point } from '../../shared/model/map';
import type { Ink } from './ink';

type Pen = CanvasRenderingContext2D;

const SITE_PX = 5;
const DEVICE_PX = 3;
const CAMERA_PX = 5;
/** A cluster of two; every factor of ten is wider by some pixels. */
const CLUSTER_PX = 11;
export const ALARM_PX = 13;

export function clusterRadius(count: number): number {
  return CLUSTER_PX + 3.2 * Math.log10(count);
}

/** The county's land: rings of points on the screen. */
export function paintLand(pen: Pen, ink: Ink, rings: readonly (readonly { x: number; y: number }[])[]): void {
  pen.beginPath();
  for (const ring of rings) {
    ring.forEach(({ x, y }, at) => (at === 0 ? pen.moveTo(x, y) : pen.lineTo(x, y)));
    pen.closePath();
  }
  pen.fillStyle = ink.land;
  pen.fill('evenodd');
  pen.strokeStyle = ink.line;
  pen.lineWidth = 1.5;
  pen.lineJoin = 'round';
  pen.stroke();
}

export function paintMark(pen: Pen, ink: Ink, mark: Mark, x: number, y: number): void {
  if (mark.what === 'cluster') paintCluster(pen, ink, mark.count, mark.offline, x, y);
  else if (mark.point.kind === 'camera') paintCamera(pen, ink, mark.point, x, y);
  else paintPlace(pen, ink, mark.point, x, y);
}

/** A number in a ring; the part of the ring that is open says how many are off line. */
function paintCluster(pen: Pen, ink: Ink, count: number, offline: number, x: number, y: number): void {
  const radius = clusterRadius(count);
  circle(pen, x, y, radius);
  pen.fillStyle = ink.ground;
  pen.fill();
  pen.strokeStyle = ink.quiet;
  pen.lineWidth = 1.5;
  const silent = (offline / count) * 2 * Math.PI;
  pen.beginPath();
  pen.arc(x, y, radius, -Math.PI / 2 + silent, 1.5 * Math.PI);
  pen.stroke();
  pen.fillStyle = ink.text;
  pen.font = `12px ${ink.font}`;
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  pen.fillText(short(count), x, y + 0.5);
}

function short(count: number): string {
  return count < 1_000 ? String(count) : `${(count / 1_000).toFixed(count < 10_000 ? 1 : 0)}k`;
}

/** A full dot is on line, a ring has no gateway, a crossed ring is off line; devices are small dots. */
function paintPlace(pen: Pen, ink: Ink, point: Point, x: number, y: number): void {
  const radius = point.kind === 'site' ? SITE_PX : DEVICE_PX;
  circle(pen, x, y, radius);
  pen.lineWidth = 1.5;
  pen.strokeStyle = ink.quiet;
  pen.fillStyle = point.kind === 'device' || point.online === true ? ink.quiet : ink.ground;
  pen.fill();
  pen.stroke();
  if (point.online !== false) return;
  pen.beginPath();
  pen.moveTo(x - radius - 2, y + radius + 2);
  pen.lineTo(x + radius + 2, y - radius - 2);
  pen.stroke();
}

/** A small square with the field it looks into; crossed when it is not well. */
function paintCamera(pen: Pen, ink: Ink, point: Point, x: number, y: number): void {
  if (point.direction !== null) {
    const towards = ((point.direction - 90) * Math.PI) / 180;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.arc(x, y, CAMERA_PX * 3.6, towards - 0.45, towards + 0.45);
    pen.closePath();
    pen.globalAlpha = 0.3;
    pen.fillStyle = ink.quiet;
    pen.fill();
    pen.globalAlpha = 1;
  }
  const half = CAMERA_PX - 0.5;
  pen.beginPath();
  pen.rect(x - half, y - half, 2 * half, 2 * half);
  const well = point.state === 'ok';
  pen.fillStyle = well ? ink.quiet : ink.ground;
  pen.fill();
  pen.strokeStyle = ink.quiet;
  pen.lineWidth = 1.5;
  pen.stroke();
  if (well) return;
  pen.beginPath();
  pen.moveTo(x - half - 2, y + half + 2);
  pen.lineTo(x + half + 2, y - half - 2);
  pen.stroke();
}

/** The queue's shapes: an octagon nobody has taken, a bell's waves pressed again, a ticked disc taken. */
export function paintAlarm(pen: Pen, ink: Ink, mark: AlarmMark, selected: boolean, x: number, y: number): void {
  const [fill, cut] = mark.look === 'unacknowledged' ? [ink.red, ink.on_red] : [ink.amber, ink.on_amber];
  const radius = ALARM_PX;
  if (selected) {
    circle(pen, x, y, radius + 6);
    pen.strokeStyle = ink.accent;
    pen.lineWidth = 2.5;
    pen.stroke();
  }
  pen.beginPath();
  if (mark.look === 'unacknowledged') {
    for (let corner = 0; corner < 8; corner += 1) {
      const angle = Math.PI / 8 + (corner * Math.PI) / 4;
      pen.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
    }
    pen.closePath();
  } else {
    pen.arc(x, y, mark.look === 'again' ? radius * 0.7 : radius - 1, 0, 2 * Math.PI);
  }
  pen.fillStyle = fill;
  pen.fill();
  pen.strokeStyle = ink.ground;
  pen.lineWidth = 1;
  pen.stroke();
  if (mark.look === 'again') {
    pen.strokeStyle = fill;
    pen.lineWidth = 2;
    for (const [from, to] of [[-0.6, 0.6], [Math.PI - 0.6, Math.PI + 0.6]] as const) {
      pen.beginPath();
      pen.arc(x, y, radius, from, to);
      pen.stroke();
    }
  }
  if (mark.alarms.length > 1) figure(pen, ink, cut, String(mark.alarms.length), x, y);
  else if (mark.look === 'acknowledged') tick(pen, cut, x, y);
  else exclaim(pen, cut, x, y);
}

function figure(pen: Pen, ink: Ink, colour: string, text: string, x: number, y: number): void {
  pen.fillStyle = colour;
  pen.font = `bold 13px ${ink.font}`;
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  pen.fillText(text, x, y + 0.5);
}

function exclaim(pen: Pen, colour: string, x: number, y: number): void {
  pen.strokeStyle = colour;
  pen.lineWidth = 2.4;
  pen.lineCap = 'round';
  pen.beginPath();
  pen.moveTo(x, y - 5);
  pen.lineTo(x, y + 1.2);
  pen.moveTo(x, y + 5);
  pen.lineTo(x, y + 5.2);
  pen.stroke();
}

function tick(pen: Pen, colour: string, x: number, y: number): void {
  pen.strokeStyle = colour;
  pen.lineWidth = 2.4;
  pen.lineCap = 'round';
  pen.beginPath();
  pen.moveTo(x - 5, y + 0.5);
  pen.lineTo(x - 1.5, y + 4);
  pen.lineTo(x + 5, y - 4);
  pen.stroke();
}

export function nameWidth(pen: Pen, ink: Ink, name: string, strong: boolean): number {
  pen.font = nameFont(ink, strong);
  return pen.measureText(name).width;
}

function nameFont(ink: Ink, strong: boolean): string {
  return `${strong ? '600 ' : ''}13px ${ink.font}`;
}

/** A name beside its point, on a rim of the ground's colour. */
export function paintName(pen: Pen, ink: Ink, name: string, x: number, y: number, strong: boolean): void {
  pen.font = nameFont(ink, strong);
  pen.textAlign = 'left';
  pen.textBaseline = 'middle';
  pen.lineWidth = 4;
  pen.lineJoin = 'round';
  pen.strokeStyle = ink.land;
  pen.strokeText(name, x, y);
  pen.fillStyle = strong ? ink.text : ink.quiet;
  pen.fillText(name, x, y);
}

function circle(pen: Pen, x: number, y: number, radius: number): void {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
}
