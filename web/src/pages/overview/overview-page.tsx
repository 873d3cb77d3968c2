import { PageHead } from '../../components/page.tsx';
import { frameText } from '../../texts/frame.ts';

export function OverviewPage() {
  return <PageHead title={frameText().overview} />;
}
