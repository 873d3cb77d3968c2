import { PageHead } from '../../components/page.tsx';
import { frameText } from '../../texts/frame.ts';

export function ModelsPage() {
  return <PageHead title={frameText().models} />;
}
