import { PageHead } from '../../components/page.tsx';
import { frameText } from '../../texts/frame.ts';

export function UsagePage() {
  return <PageHead title={frameText().usage} />;
}
