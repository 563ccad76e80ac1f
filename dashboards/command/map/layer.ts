/**
 * The county on one canvas above Leaflet's empty map. Each frame draws what lies in view: the
 * outline, a few hundred marks, the alarms. The points are gathered once and not at every frame.
 */
import L from 'leaflet';
import type { OutlineGeometry } from '../../shared/api/types';
import { marksIn, nearest, type AlarmMark, type Gathered, type Mark, type Point } from '../../shared/model/map';
import type { Ink } from './ink';
import { ALARM_PX, clusterRadius, nameWidth, paintAlarm, paintLand, paintMark, paintName } from './paint';

/** From this zoom on names stand beside their points. */
const NAMES_FROM_ZOOM = 13;
const LINE_PX = 18;
/** How far beside a mark a finger may come down. */
const REACH_PX = 18;
/** Marks just outside the view are drawn too, so that they do not appear by halves. */
const MARGIN = 0.05;

export interface Scene {
  outline: OutlineGeometry | null;
  gathered: Gathered;
  alarms: readonly AlarmMark[];
  /** Names of alarms, by id. */
  titles: ReadonlyMap<string, string>;
  selected_alarm: string | null;
  selected_point: Point | null;
  ink: Ink;
}

/** What was drawn, for whoever wants to know how much work a map is. */
export interface Drawn {
  frames: number;
  marks: number;
  alarms: number;
}

export type Hit = { what: 'alarm'; mark: AlarmMark } | { what: 'mark'; mark: Mark };

type Placed = { x: number; y: number; hit: Hit };

export class CountyLayer extends L.Layer {
  private scene: Scene | null = null;
  private canvas: HTMLCanvasElement | null = null;
  private frame = 0;
  private placed: Placed[] = [];
  readonly drawn: Drawn = { frames: 0, marks: 0, alarms: 0 };

  constructor(private readonly whenDrawn: (drawn: Drawn) => void) {
    super();
  }

  show(scene: Scene): void {
    this.scene = scene;
    this.ask();
  }

  /** What lies under a place of the map's box. */
  under(x: number, y: number): Hit | null {
    const alarms = this.placed.filter(({ hit }) => hit.what === 'alarm');
    return (nearest(alarms, x, y, REACH_PX) ?? nearest(this.placed, x, y, REACH_PX))?.hit ?? null;
  }

  override onAdd(map: L.Map): this {
    this.canvas = L.DomUtil.create('canvas', 'county-canvas', map.getPanes().overlayPane);
    map.on('move zoom viewreset resize', this.ask, this);
    this.ask();
    return this;
  }

  override onRemove(map: L.Map): this {
    cancelAnimationFrame(this.frame);
    map.off('move zoom viewreset resize', this.ask, this);
    this.canvas?.remove();
    this.canvas = null;
    return this;
  }

  private ask(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    const { canvas, scene } = this;
    const map = this._map as L.Map | undefined;
    if (canvas === null || scene === null || map === undefined) return;
    const pen = this.clear(canvas, map);
    if (pen === null) return;
    this.placed = [];
    if (scene.outline !== null) paintLand(pen, scene.ink, ringsOf(scene.outline, map));
    const marks = marksIn(scene.gathered, boundsOf(map), map.getZoom());
    const names = new Names(pen, scene.ink, map.getSize().x, map.getZoom() >= NAMES_FROM_ZOOM);
    for (const mark of marks) this.drawMark(pen, scene, map, mark, names);
    if (scene.selected_point !== null) this.drawChosen(pen, scene.ink, map, scene.selected_point, names);
    for (const mark of scene.alarms) this.drawAlarm(pen, scene, map, mark, names);
    names.paint();
    this.drawn.frames += 1;
    this.drawn.marks = marks.length;
    this.drawn.alarms = scene.alarms.length;
    this.whenDrawn(this.drawn);
  }

  private clear(canvas: HTMLCanvasElement, map: L.Map): CanvasRenderingContext2D | null {
    const { x: width, y: height } = map.getSize();
    const scale = devicePixelRatio;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    L.DomUtil.setPosition(canvas, map.containerPointToLayerPoint([0, 0]));
    const pen = canvas.getContext('2d');
    pen?.setTransform(scale, 0, 0, scale, 0, 0);
    pen?.clearRect(0, 0, width, height);
    return pen;
  }

  private drawMark(pen: CanvasRenderingContext2D, scene: Scene, map: L.Map, mark: Mark, names: Names): void {
    const { x, y } = map.latLngToContainerPoint([mark.latitude, mark.longitude]);
    paintMark(pen, scene.ink, mark, x, y);
    this.placed.push({ x, y, hit: { what: 'mark', mark } });
    if (mark.what === 'cluster') {
      names.keepFree(x, y, clusterRadius(mark.count));
      return;
    }
    names.keepFree(x, y, 6);
    names.add(mark.point.name, x, y, 10, false);
  }

  /** What was chosen is ringed and named, also while it is one of a cluster. */
  private drawChosen(pen: CanvasRenderingContext2D, ink: Ink, map: L.Map, point: Point, names: Names): void {
    const { x, y } = map.latLngToContainerPoint([point.latitude, point.longitude]);
    pen.beginPath();
    pen.arc(x, y, 11, 0, 2 * Math.PI);
    pen.strokeStyle = ink.accent;
    pen.lineWidth = 2;
    pen.stroke();
    names.add(point.name, x, y, 15, true);
  }

  private drawAlarm(pen: CanvasRenderingContext2D, scene: Scene, map: L.Map, mark: AlarmMark, names: Names): void {
    const { x, y } = map.latLngToContainerPoint([mark.latitude, mark.longitude]);
    const selected = scene.selected_alarm !== null && mark.alarms.includes(scene.selected_alarm);
    paintAlarm(pen, scene.ink, mark, selected, x, y);
    this.placed.push({ x, y, hit: { what: 'alarm', mark } });
    const named = selected && scene.selected_alarm !== null ? scene.selected_alarm : mark.alarms[0];
    const title = scene.titles.get(named ?? '');
    if (title !== undefined) names.add(title, x, y, ALARM_PX + 6, true);
  }
}

/** Names that do not cover each other; the important ones are asked first. */
class Names {
  private readonly taken: { x: number; y: number; width: number }[] = [];
  private readonly wanted: { name: string; x: number; y: number; beside: number; strong: boolean }[] = [];

  constructor(
    private readonly pen: CanvasRenderingContext2D,
    private readonly ink: Ink,
    private readonly width: number,
    private readonly all: boolean,
  ) {}

  keepFree(x: number, y: number, radius: number): void {
    this.taken.push({ x: x - radius, y, width: 2 * radius });
  }

  /** `beside`: how far from the middle of its mark a name begins. */
  add(name: string, x: number, y: number, beside: number, strong: boolean): void {
    if (strong || this.all) this.wanted.push({ name: fit(name), x, y, beside, strong });
  }

  paint(): void {
    this.wanted.sort((a, b) => Number(b.strong) - Number(a.strong));
    for (const { name, x, y, beside, strong } of this.wanted) {
      const width = nameWidth(this.pen, this.ink, name, strong);
      // At the right edge a name stands on the other side of its mark.
      const begin = x + beside + width > this.width ? x - beside - width : x + beside;
      if (this.taken.some((other) => Math.abs(other.y - y) < LINE_PX && other.x < begin + width && begin < other.x + other.width)) continue;
      this.taken.push({ x: begin, y, width });
      paintName(this.pen, this.ink, name, begin, y, strong);
    }
  }
}

function fit(name: string): string {
  const letters = Array.from(name);
  return letters.length <= 12 ? name : `${letters.slice(0, 11).join('')}…`;
}

function boundsOf(map: L.Map): { west: number; south: number; east: number; north: number } {
  const bounds = map.getBounds().pad(MARGIN);
  return { west: bounds.getWest(), south: bounds.getSouth(), east: bounds.getEast(), north: bounds.getNorth() };
}

function ringsOf(outline: OutlineGeometry, map: L.Map): L.Point[][] {
  return outline.coordinates.flatMap((polygon) =>
    polygon.map((ring) => ring.map(([longitude, latitude]) => map.latLngToContainerPoint([latitude, longitude]))),
  );
}
