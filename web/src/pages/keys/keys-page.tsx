import { PageHead } from '../../components/page.tsx';
import { frameText } from '../../texts/frame.ts';

export function KeysPage() {
  return <PageHead title={frameText().keys} />;
}
