import { PageHead } from '../../components/page.tsx';
import { frameText } from '../../texts/frame.ts';

export function SettingsPage() {
  return <PageHead title={frameText().settings} />;
}
