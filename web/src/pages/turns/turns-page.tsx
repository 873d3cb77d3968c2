import { PageHead } from '../../components/page.tsx';
import { frameText } from '../../texts/frame.ts';

export function TurnsPage() {
  return <PageHead title={frameText().turns} />;
}
