/** Where in the page the person is. */
import { followHash } from '../../shared/page/place';
import { formatPlace, parsePlace, type Place } from '../model/place';

export { said, say } from '../../shared/page/place';

export const place = followHash(parsePlace);

export function go(to: Place): void {
  location.hash = formatPlace(to);
}
