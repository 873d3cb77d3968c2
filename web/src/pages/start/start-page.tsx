import { PageHead } from '../../components/page.tsx';
import { frameText } from '../../texts/frame.ts';

export function StartPage() {
  return <PageHead title={frameText().start} />;
}
