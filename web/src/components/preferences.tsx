import { blursEmails, language, theme } from '../preferences.ts';
import { frameText } from '../texts/frame.ts';
import { CheckField, Choices } from './choice.tsx';
import { Icon } from './icon.tsx';

const areBlurred = {
  get value() {
    return blursEmails.value === 'yes';
  },
  set value(isChecked: boolean) {
    blursEmails.value = isChecked ? 'yes' : 'no';
  },
};

export function Preferences() {
  const text = frameText();
  return (
    <details class="preferences">
      <summary>
        <Icon name="sliders" />
        <span>{text.preferences}</span>
      </summary>
      <div class="preferences-body">
        <Choices
          label={text.language}
          value={language}
          options={[
            { value: 'en', label: 'English' },
            { value: 'zh', label: '中文' },
          ]}
        />
        <Choices
          label={text.theme}
          value={theme}
          options={[
            { value: 'system', label: text.themeSystem },
            { value: 'light', label: text.themeLight },
            { value: 'dark', label: text.themeDark },
          ]}
        />
        <CheckField label={text.blurEmails} value={areBlurred} />
      </div>
    </details>
  );
}
