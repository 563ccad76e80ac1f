/** Where in the page the technician is. */
import { formatRoute, parseRoute, type FieldRoute } from '../shared/model/route';
import { followHash } from '../shared/page/place';

export { said, say } from '../shared/page/place';

export const route = followHash(parseRoute);

export function go(to: FieldRoute): void {
  location.hash = formatRoute(to);
}
